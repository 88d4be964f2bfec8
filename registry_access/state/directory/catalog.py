"""What the folder's files hold: which object stands where, and which manifests cannot be used."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry_access.model.errors import InvalidManifest
from registry_access.model.resources import Key, Kind, resource_from_manifest
from registry_access.state.directory.documents import Document, Place, read_documents
from registry_access.state.manifest import own_manifest

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Located:
    """An object's own manifest (no status, nothing that a server sets) and where it stands."""

    key: Key
    path: Path
    place: Place
    line: int
    manifest: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _File:
    signature: Signature
    located: Mapping[Key, Located]
    problems: tuple[InvalidManifest, ...]


class Catalog:
    """Reads only files whose modification time, size or inode changed.

    A document that cannot be used is a problem; the objects that its file held before and does not show now stay as they
    were, while the file's other documents take effect.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[Path, _File] = {}
        self._repeats: dict[tuple[Path, Key], InvalidManifest] = {}
        self.objects: dict[Key, Located] = {}

    def problems(self) -> tuple[InvalidManifest, ...]:
        found = [problem for _, file in sorted(self._files.items()) for problem in file.problems]
        return (*found, *self._repeats.values())

    def problems_in(self, path: Path) -> tuple[InvalidManifest, ...]:
        file = self._files.get(path)
        return file.problems if file else ()

    def holds_others(self, path: Path, key: Key) -> bool:
        """Whether `path` is broken or holds another object than `key`, so that nothing new should be written to it."""
        file = self._files.get(path)
        return file is not None and (bool(file.problems) or bool(file.located.keys() - {key}))

    def misses(self, paths: Collection[Path]) -> bool:
        """Whether a file among `paths` that was read before is not there now."""
        return any(path in self._files and not path.exists() for path in paths)

    def refresh(self, paths: Collection[Path] | None = None) -> set[Key]:
        """Looks at `paths` again (None: at the whole folder), brings `objects` up to date, returns the keys affected."""
        looked = set(self._walk(self._root)) | self._files.keys() if paths is None else self._files_of(paths)
        affected: set[Key] = set()
        for path in looked:
            affected |= self._load(path, trust_signature=paths is None)
        if affected:
            self._resolve(affected)
        return affected

    def _files_of(self, paths: Collection[Path]) -> set[Path]:
        found: set[Path] = set()
        for path in paths:
            if path.is_dir():  # files may have been put into a new folder before it was watched
                found.update(self._walk(path))
            elif self._is_manifest(path):
                found.add(path)
            elif not path.suffix:  # a folder that is gone
                found.update(known for known in self._files if path in known.parents)
        return found

    def _walk(self, folder: Path) -> Iterator[Path]:
        return (path for path in folder.rglob("*") if self._is_manifest(path) and path.is_file())

    def _is_manifest(self, path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(self._root).parts)
        return path.suffix in SUFFIXES and not hidden

    def _load(self, path: Path, *, trust_signature: bool) -> set[Key]:
        before = self._files.get(path)
        try:
            status = path.stat()
        except FileNotFoundError:
            gone = self._files.pop(path, None)
            return set(gone.located) if gone else set()
        except OSError as error:
            return self._keep(path, (0, 0, 0), {}, (_unreadable(path, error),))
        signature = (status.st_mtime_ns, status.st_size, status.st_ino)
        # Clocks of file systems tick in milliseconds: a file that is said to have changed is read whatever they say.
        if trust_signature and before is not None and before.signature == signature:
            return set()
        try:
            documents = read_documents(path)
        except InvalidManifest as problem:
            return self._keep(path, signature, {}, (problem,))
        except OSError as error:
            return self._keep(path, (0, 0, 0), {}, (_unreadable(path, error),))
        located, problems = _locate(path, documents)
        return self._keep(path, signature, located, problems)

    def _keep(
        self, path: Path, signature: Signature, located: dict[Key, Located], problems: tuple[InvalidManifest, ...]
    ) -> set[Key]:
        before = self._files.get(path)
        known = dict(before.located) if before else {}
        current = known | located if problems else located
        self._files[path] = _File(signature, current, problems)
        return known.keys() | current.keys()

    def _resolve(self, affected: set[Key]) -> None:
        """One file owns each key: the one that held it, else the first by name. The others are reported."""
        self._repeats = {place: problem for place, problem in self._repeats.items() if place[1] not in affected}
        holders: dict[Key, list[Located]] = {key: [] for key in affected}
        for _, file in sorted(self._files.items()):
            for key in affected & file.located.keys():
                holders[key].append(file.located[key])
        for key, held in holders.items():
            owner = self.objects.pop(key, None)
            chosen = next((located for located in held if owner and located.path == owner.path), held[0] if held else None)
            if chosen is None:
                continue
            self.objects[key] = chosen
            for other in held:
                if other is not chosen:
                    self._repeats[other.path, key] = _repeated(other, chosen)


def _locate(path: Path, documents: list[Document]) -> tuple[dict[Key, Located], tuple[InvalidManifest, ...]]:
    located: dict[Key, Located] = {}
    problems: list[InvalidManifest] = []
    for document in documents:
        manifest = with_default_namespace(own_manifest(document.manifest))
        try:
            resource = resource_from_manifest(manifest, source=str(path), lines=document.line_of)
        except InvalidManifest as problem:
            problems.append(problem)
            continue
        if resource is None:
            continue
        line = document.line_of(("metadata", "name"))
        found = Located(resource.key, path, document.place, line, manifest)
        if resource.key in located:
            problems.append(_repeated(found, located[resource.key]))
        else:
            located[resource.key] = found
    return located, tuple(problems)


def with_default_namespace(manifest: dict[str, Any]) -> dict[str, Any]:
    """As `kubectl apply` does: an object without a namespace is in "default"."""
    metadata = manifest.get("metadata")
    if manifest.get("kind") == Kind.NAMESPACE or not isinstance(metadata, dict) or metadata.get("namespace"):
        return manifest
    return manifest | {"metadata": metadata | {"namespace": "default"}}


def _repeated(other: Located, owner: Located) -> InvalidManifest:
    return InvalidManifest(
        f"{other.key} stands in {owner.path} already, line {owner.line}",
        field="metadata.name",
        remedy="remove one of the two",
        source=str(other.path),
        line=other.line,
    )


def _unreadable(path: Path, error: OSError) -> InvalidManifest:
    return InvalidManifest(f"cannot be read: {error.strerror}", source=str(path), remedy="correct its permissions")

"""What Kubernetes would keep of an object and its file does not say: UID, version, generation, status, who applied what.

One small JSON file an object, below ``.managed/``, so that people's own files are never changed by us. It also holds the last
good manifest, for a start with a broken file, and so is as private as a Secret (mode 0600).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry_access.model.resources import Key, Kind
from registry_access.model.timestamp import rfc3339
from registry_access.runtime.atomic_write import sync_folder
from registry_access.state.directory.documents import write_state_file
from registry_access.state.merge_patch import Shape

MANAGED = ".managed"
OBJECTS = "objects"
_CLUSTER = "_cluster"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """`source` is the manifest's file, below the state folder. `applied`: manager -> the fields that it set."""

    uid: str
    version: int
    generation: int
    created: str
    source: str
    manifest: dict[str, Any] = field(repr=False)
    status: dict[str, Any] = field(default_factory=dict)
    applied: dict[str, Shape] = field(default_factory=dict)

    def seen(self, manifest: dict[str, Any], source: str) -> Sidecar:
        """This object once its file says `manifest`; self when nothing changed."""
        if manifest == self.manifest:
            return self if source == self.source else replace(self, source=source)
        generation = self.generation + (_spec(manifest) != _spec(self.manifest))
        return replace(self, manifest=manifest, source=source, generation=generation, version=_next_version(self.version))

    def with_status(self, status: dict[str, Any]) -> Sidecar:
        return self if status == self.status else replace(self, status=status, version=_next_version(self.version))

    def full_manifest(self) -> dict[str, Any]:
        """The manifest as an API server would show it."""
        metadata = self.manifest["metadata"] | {"uid": self.uid, "resourceVersion": str(self.version)}
        metadata |= {"generation": self.generation, "creationTimestamp": self.created}
        return self.manifest | {"metadata": metadata} | ({"status": self.status} if self.status else {})


def new_sidecar(manifest: dict[str, Any], source: str) -> Sidecar:
    return Sidecar(str(uuid.uuid4()), _next_version(0), 1, rfc3339(datetime.now(UTC)), source, manifest)


class SidecarFolder:
    """The sidecars of one state folder. Writes belong under the folder's lock."""

    def __init__(self, root: Path) -> None:
        self._folder = root / MANAGED / OBJECTS

    def make(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, key: Key) -> Path:
        return self._folder / f"{key.kind}.{key.namespace or _CLUSTER}.{key.name}.json"

    def key_of(self, path: Path) -> Key | None:
        """The key whose sidecar `path` is, if any."""
        kind, _, rest = path.name.removesuffix(".json").partition(".")
        namespace, _, name = rest.partition(".")
        if path.parent.name != OBJECTS or path.suffix != ".json" or not name or kind not in tuple(Kind):
            return None
        return Key(Kind(kind), "" if namespace == _CLUSTER else namespace, name)

    def load_all(self) -> dict[Key, Sidecar]:
        keys = (key for path in self._folder.glob("*.json") if (key := self.key_of(path)))
        return {key: sidecar for key in keys if (sidecar := self.load(key))}

    def load(self, key: Key) -> Sidecar | None:
        """None when there is none, or it cannot be read (the object then counts as new)."""
        try:
            return Sidecar(**json.loads(self.path(key).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def save_all(self, changes: Sequence[tuple[Key, Sidecar | None]]) -> None:
        """Saves or, where there is None, removes. Raises OSError once all were tried."""
        failed: OSError | None = None
        for key, sidecar in changes:
            try:
                if sidecar:
                    self.save(key, sidecar)
                else:
                    self.remove(key)
            except OSError as error:
                failed = error
        if failed:
            raise failed

    def save(self, key: Key, sidecar: Sidecar) -> None:
        write_state_file(self.path(key), json.dumps(asdict(sidecar)).encode(), private=True)

    def remove(self, key: Key) -> None:
        self.path(key).unlink(missing_ok=True)
        sync_folder(self._folder)


def _spec(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name != "metadata"}


def _next_version(previous: int) -> int:
    # Milliseconds keep the versions of an object and of its successor of the same name apart.
    return max(previous + 1, time.time_ns() // 1_000_000)

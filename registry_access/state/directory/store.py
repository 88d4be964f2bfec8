"""The directory state store, the embedded default."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry_access.model.errors import AlreadyExists, Conflict, InvalidManifest, NotFound, StateUnavailable
from registry_access.model.resources import Key, Kind, Resource, check_transition, resource_from_manifest
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.runtime.atomic_write import sync_folder
from registry_access.state.directory.catalog import Located, with_default_namespace
from registry_access.state.directory.documents import (
    Edit,
    edit_file,
    new_text,
    quoted,
    remove_from_file,
    write_state_file,
)
from registry_access.state.directory.folder_lock import FolderLock
from registry_access.state.directory.leadership import FolderLeadership
from registry_access.state.directory.mirror import Mirror, unwritable
from registry_access.state.directory.sidecar import MANAGED
from registry_access.state.directory.watch import FolderWatch
from registry_access.state.event_recorder import EventWriter, LogEvents
from registry_access.state.index import ResourceIndex
from registry_access.state.interface import HeldSecrets, Manifest
from registry_access.state.leadership import Leadership
from registry_access.state.manifest import own_manifest, plain
from registry_access.state.merge_patch import apply_into, merge_into, shape_of
from registry_access.state.signing_keys import INSTALL_TOKEN_KEYS

_SETTLE_SECONDS = 0.05


class DirectoryStore:
    """Manifests below `folder`. Several processes may work on one folder: a file lock orders their writes.

    `heartbeat_seconds`: how often the watch is proven. `watch=False` reads once on `start`, for a command that does one thing;
    its staleness stays infinite. `poll`: look every 100 ms, for file systems that report no changes. `on_problem` is called
    with every manifest that becomes unusable.

    A file that is deleted and recreated while no process watches keeps its objects' UIDs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        heartbeat_seconds: float = 2.0,
        watch: bool = True,
        poll: bool = False,
        on_problem: Callable[[InvalidManifest], None] | None = None,
    ) -> None:
        self._root = folder.absolute()
        self._index = ResourceIndex()
        self._mirror = Mirror(self._root, self._index, on_problem)
        self._lock = FolderLock(self._root / MANAGED / "lock")
        self._synced = False
        self._watch = FolderWatch(self._root, self._follow, heartbeat_seconds=heartbeat_seconds, poll=poll) if watch else None

    @property
    def index(self) -> ResourceIndex:
        return self._index

    @property
    def synced(self) -> bool:
        return self._synced

    def staleness(self) -> float:
        return self._watch.staleness() if self._watch else float("inf")

    def secrets_of(self, workspace: str) -> HeldSecrets:
        return HeldSecrets(self.staleness())

    def unreadable_workspaces(self, limit: float) -> int:
        return 0

    def secret_bytes(self) -> int:
        return 0

    @property
    def api(self) -> None:
        return None

    @property
    def holds_deleted(self) -> bool:
        return False

    def event_writer(self, controller: str, instance: str) -> EventWriter:
        return LogEvents()

    def leadership(self, name: str) -> Leadership:
        return FolderLeadership(self._root / MANAGED / f"{name.removeprefix('akua-')}.lock")

    def control_plane_id(self) -> str:
        """The UID of the keys that sign its tokens."""
        found = self._index.secret(SYSTEM_NAMESPACE, INSTALL_TOKEN_KEYS)
        if found is None or not found.metadata.uid:
            raise StateUnavailable(f"Secret {SYSTEM_NAMESPACE}/{INSTALL_TOKEN_KEYS} does not exist yet")
        return found.metadata.uid

    async def refresh(self, kind: Kind) -> None:
        """Its watch brings all changes, and a command's own are shown at once."""

    def problems(self) -> Sequence[InvalidManifest]:
        return self._mirror.problems()

    async def start(self) -> None:
        """Makes the folder if need be. Raises StateUnavailable if it cannot be used."""
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._mirror.sidecars.make()
            async with self._lock.held():
                await self._mirror.refresh(None)
        except OSError as error:
            raise StateUnavailable(f"the state folder {self._root} cannot be used: {error.strerror}") from error
        self._synced = True
        if self._watch:
            await self._watch.start()

    async def stop(self) -> None:
        if self._watch:
            await self._watch.stop()

    async def read(self, key: Key) -> Resource:
        async with self._lock.held():
            await self._look_at(key)
        return self._existing(key)

    async def create(self, manifest: Manifest) -> Resource:
        wanted, key = self._wanted(manifest)
        async with self._lock.held():
            await self._look_at(key)
            if self._index.get(key) is not None:
                raise AlreadyExists(f"{key} already exists")
            await self._write_new(key, wanted)
        return self._existing(key)

    async def apply(self, manifest: Manifest, *, manager: str) -> Resource:
        wanted, key = self._wanted(manifest)
        async with self._lock.held():
            await self._look_at(key)
            if key not in self._mirror.catalog.objects:
                await self._write_new(key, wanted)
            else:
                located = await self._editable(key)
                before = self._mirror.shown[key].applied.get(manager, {})
                await self._edit(key, located, lambda document: apply_into(document, quoted(wanted), before))
            known = self._mirror.shown[key]
            applied = known.applied | {manager: shape_of(wanted)}
            if applied != known.applied:
                await self._mirror.keep(key, replace(known, applied=applied))
        return self._existing(key)

    async def patch(self, key: Key, merge_patch: Manifest, *, resource_version: str | None = None) -> Resource:
        changes = own_manifest(plain(merge_patch))
        async with self._lock.held():
            located = await self._editable(key)
            self._refuse_stale(key, resource_version)
            await self._edit(key, located, lambda document: merge_into(document, quoted(changes)))
        return self._existing(key)

    async def patch_status(self, key: Key, merge_patch: Manifest, *, resource_version: str | None = None) -> Resource:
        async with self._lock.held():
            await self._look_at(key)
            self._refuse_stale(key, resource_version)
            known = self._mirror.shown[key]
            status: dict[str, Any] = plain(known.status)
            merge_into(status, plain(merge_patch))
            await self._mirror.keep(key, known.with_status(status))
        return self._existing(key)

    async def delete(self, key: Key, *, uid: str | None = None) -> None:
        async with self._lock.held():
            located = await self._editable(key)
            if uid and self._existing(key).metadata.uid != uid:
                raise Conflict(f"{key} was replaced by another object of the same name")
            text = remove_from_file(located.path, located.place)
            try:
                if text:
                    await self._write(located.path, text)
                else:
                    located.path.unlink(missing_ok=True)
                    sync_folder(located.path.parent)
            except OSError as error:
                raise unwritable(located.path, error) from error
            await self._mirror.refresh({located.path})

    async def _follow(self, paths: set[Path] | None) -> None:
        """Takes in what the watch saw."""
        managed = {key for path in paths or () if (key := self._mirror.sidecars.key_of(path))}
        files = None if paths is None else {path for path in paths if MANAGED not in path.parts[len(self._root.parts) :]}
        if not managed and files is not None and not files:
            return
        if files and self._mirror.catalog.misses(files):
            # Editors save by renaming. A brief absence must not count as a deletion, which would end every token of an install.
            await asyncio.sleep(_SETTLE_SECONDS)
        async with self._lock.held():
            await self._mirror.refresh(files, managed)

    async def _look_at(self, key: Key) -> None:
        """Brings one object up to date, past the watch."""
        if self._watch and self._synced:
            known = self._mirror.catalog.objects.get(key)
            await self._mirror.refresh({known.path if known else self._path_for(key)}, {key})
        else:
            await self._mirror.refresh(None)

    def _wanted(self, manifest: Manifest) -> tuple[dict[str, Any], Key]:
        wanted = with_default_namespace(own_manifest(plain(manifest)))
        resource = resource_from_manifest(wanted)
        if resource is None:
            raise InvalidManifest("not a kind that is stored here", field="kind", remedy="see docs/configuration.md")
        return wanted, resource.key

    async def _editable(self, key: Key) -> Located:
        """Where the object stands, in a file that can be edited: in a broken one nobody knows what stands where."""
        await self._look_at(key)
        located = self._mirror.catalog.objects.get(key)
        if located is None:
            raise NotFound(f"{key} does not exist")
        for problem in self._mirror.catalog.problems_in(located.path):
            raise problem
        return located

    def _refuse_stale(self, key: Key, resource_version: str | None) -> None:
        """Raises NotFound, and Conflict when the object is not of that version any more."""
        if self._existing(key).metadata.resource_version != resource_version and resource_version:
            raise Conflict(f"{key} was changed by someone else; read it again")

    def _existing(self, key: Key) -> Resource:
        resource = self._index.get(key)
        if resource is None:
            raise NotFound(f"{key} does not exist")
        return resource

    async def _write_new(self, key: Key, wanted: dict[str, Any]) -> None:
        path = self._path_for(key)
        try:
            await self._write(path, new_text(wanted))
        except OSError as error:
            raise unwritable(path, error) from error
        await self._mirror.refresh({path})

    async def _edit(self, key: Key, located: Located, edit: Edit) -> None:
        """Edits a manifest where it stands, but only into something that can be used."""
        edited: dict[str, Any] = plain(located.manifest)
        edit(edited)
        edited = plain(edited)
        if edited == located.manifest:
            return
        resource = resource_from_manifest(edited)
        if resource is None or resource.key != key:
            raise InvalidManifest(
                "an object's kind, namespace and name cannot change", field="metadata", remedy="create another object"
            )
        check_transition(self._index.get(key), resource)
        try:
            await self._write(located.path, edit_file(located.path, located.place, edit))
        except OSError as error:
            raise unwritable(located.path, error) from error
        await self._mirror.refresh({located.path})

    async def _write(self, path: Path, text: str) -> None:
        private = "kind: Secret" in text or '"Secret"' in text
        await asyncio.to_thread(write_state_file, path, text.encode(), private=private)

    def _path_for(self, key: Key) -> Path:
        """Where a new object goes: a name of its own, unless another object's file has it."""
        folder = self._root / (key.namespace or "_cluster")
        names = (f"{key.kind.lower()}-{key.name}{suffix}.yaml" for suffix in ("", *(f"-{count}" for count in range(2, 1000))))
        return next(folder / name for name in names if not self._mirror.catalog.holds_others(folder / name, key))

"""The index kept as the folder has it: files and sidecars brought together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from registry_access.model.errors import InvalidManifest, StateUnavailable
from registry_access.model.resources import Key, Resource, check_transition, resource_from_manifest
from registry_access.state.directory.catalog import Catalog, Located
from registry_access.state.directory.sidecar import MANAGED, Sidecar, SidecarFolder, new_sidecar
from registry_access.state.index import ResourceIndex

logger = logging.getLogger(__name__)


class Mirror:
    """`shown` holds the sidecar of every object in the index. All methods belong under the folder's lock."""

    def __init__(self, root: Path, index: ResourceIndex, on_problem: Callable[[InvalidManifest], None] | None) -> None:
        self.catalog = Catalog(root)
        self.sidecars = SidecarFolder(root)
        self.shown: dict[Key, Sidecar] = {}
        self._root = root
        self._index = index
        self._kept: dict[Key, str] = {}  # shown from their sidecars, because their files were broken before we came
        self._refused: dict[Key, InvalidManifest] = {}
        self._reported: dict[str, InvalidManifest] = {}
        self._on_problem = on_problem

    def problems(self) -> tuple[InvalidManifest, ...]:
        return (*self.catalog.problems(), *self._refused.values())

    async def refresh(self, paths: set[Path] | None, managed: set[Key] | None = None) -> None:
        """Brings `paths` (None: everything) and the objects `managed` up to date.

        Raises StateUnavailable, after the index is right, when the sidecars cannot be written.
        """
        managed = managed or set()
        if paths is not None:
            # With an object's sidecar comes its file: another process may have deleted or moved both.
            paths = paths | {self.catalog.objects[key].path for key in managed if key in self.catalog.objects}
        affected = self.catalog.refresh(paths) | managed
        affected |= {key for key, source in self._kept.items() if not self.catalog.problems_in(self._root / source)}
        on_disk = self.sidecars.load_all() if paths is None else {key: self.sidecars.load(key) for key in affected}
        if paths is None:
            affected |= on_disk.keys() | self.shown.keys()
        # All is shown before anything is kept: readers see one whole state, and a full disk cannot hold a revocation up.
        kept = [(key, on_disk.get(key), self._reconcile(key, on_disk.get(key))) for key in sorted(affected)]
        self._report()
        changed = [(key, after) for key, before, after in kept if after is not before]
        if changed:
            try:
                await asyncio.to_thread(self.sidecars.save_all, changed)
            except OSError as error:
                raise unwritable(self._root / MANAGED, error) from error

    def _reconcile(self, key: Key, sidecar: Sidecar | None) -> Sidecar | None:
        """One object: its file and its sidecar brought together, and shown. Returns the sidecar that is to be kept."""
        located = self.catalog.objects.get(key)
        if located is None:
            return self._reconcile_absent(key, sidecar)
        self._kept.pop(key, None)
        source = str(located.path.relative_to(self._root))
        current = sidecar.seen(located.manifest, source) if sidecar else new_sidecar(located.manifest, source)
        resource = self._resource(current, located)
        try:
            check_transition(self._known(sidecar), resource, source=str(located.path))
        except InvalidManifest as problem:
            problem.line = located.line
            self._refused[key] = problem
            if sidecar and key not in self.shown:
                self._show(key, sidecar)
            return sidecar
        self._refused.pop(key, None)
        self._show(key, current, resource)
        return current

    def _reconcile_absent(self, key: Key, sidecar: Sidecar | None) -> Sidecar | None:
        self._refused.pop(key, None)
        if sidecar and self.catalog.problems_in(self._root / sidecar.source):
            self._kept[key] = sidecar.source
            self._show(key, sidecar)
            return sidecar
        self._kept.pop(key, None)
        self.shown.pop(key, None)
        self._index.remove(key)
        return None

    async def keep(self, key: Key, sidecar: Sidecar) -> None:
        """Shows and keeps what has no file of its own: status and field managers."""
        if sidecar == self.shown[key]:
            return
        resource_from_manifest(sidecar.full_manifest())
        try:
            await asyncio.to_thread(self.sidecars.save, key, sidecar)
        except OSError as error:
            raise unwritable(self.sidecars.path(key), error) from error
        self._show(key, sidecar)

    def _known(self, sidecar: Sidecar | None) -> Resource | None:
        try:
            return resource_from_manifest(sidecar.full_manifest()) if sidecar else None
        except InvalidManifest:  # good for an earlier release, not for this one
            return None

    def _resource(self, sidecar: Sidecar, located: Located) -> Resource:
        resource = resource_from_manifest(sidecar.full_manifest(), source=str(located.path))
        if resource is None:
            raise InvalidManifest("not a kind of ours", field="kind", source=str(located.path))
        return resource

    def _show(self, key: Key, sidecar: Sidecar, resource: Resource | None = None) -> None:
        if self.shown.get(key) == sidecar:
            return
        resource = resource or self._known(sidecar)
        if resource is not None:
            self.shown[key] = sidecar
            self._index.put(resource)

    def _report(self) -> None:
        """Tells of each problem once, when it comes up."""
        now = {str(problem): problem for problem in self.problems()}
        for text in now.keys() - self._reported.keys():
            logger.warning("a manifest cannot be used; its last good version still applies: %s", text)
            if self._on_problem:
                self._on_problem(now[text])
        for text in self._reported.keys() - now.keys():
            logger.info("resolved: %s", text)
        self._reported = now


def unwritable(path: Path, error: OSError) -> StateUnavailable:
    return StateUnavailable(f"{path} cannot be written: {error.strerror}")

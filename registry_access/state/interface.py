"""The state store: a live index to read, and writes that the index follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from registry_access.model.errors import InvalidManifest
from registry_access.model.resources import Key, Resource
from registry_access.state.index import ResourceIndex

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HeldSecrets:
    """How current what is held of a workspace's Secrets is.

    `staleness`: seconds since it was last proven, inf when nothing is held. `problem`: why it cannot be proven now, in the
    server's own words; "" when nothing is wrong.
    """

    staleness: float
    problem: str = ""


class StateStore(Protocol):
    """One suite, tests/support/state_conformance.py, holds every adapter to this.

    Writes raise NotFound, AlreadyExists, Conflict, InvalidManifest or StateUnavailable. They return the object as written;
    the index shows it when the watch has brought it.
    """

    @property
    def index(self) -> ResourceIndex: ...

    @property
    def synced(self) -> bool:
        """Whether every watched kind has been read once."""
        ...

    def staleness(self) -> float:
        """Seconds, on the monotonic clock, since the index was last proven current through the watch; inf before the first.

        Of all but workspaces' Secrets, which are each workspace's own affair: see `secrets_of`.
        """
        ...

    def secrets_of(self, workspace: str) -> HeldSecrets:
        """How current the Secrets of a workspace are."""
        ...

    def problems(self) -> Sequence[InvalidManifest]:
        """Manifests that cannot be used now; the last good version of what they held is served."""
        ...

    async def start(self) -> None:
        """Returns when synced."""
        ...

    async def stop(self) -> None: ...

    async def read(self, key: Key) -> Resource:
        """The object as it is now, past the index."""
        ...

    async def create(self, manifest: Manifest) -> Resource: ...

    async def apply(self, manifest: Manifest, *, manager: str) -> Resource:
        """Creates the object, or makes of it what `manifest` says; labels and annotations of other managers stay."""
        ...

    async def patch(self, key: Key, merge_patch: Manifest, *, resource_version: str | None = None) -> Resource:
        """A JSON merge patch (RFC 7386) of all but status. With `resource_version`, Conflict when the object has moved on."""
        ...

    async def patch_status(self, key: Key, merge_patch: Manifest, *, resource_version: str | None = None) -> Resource:
        """A merge patch of the status: ``{"deniedPulls": 3}`` (not below a `status` member); `resource_version` as in `patch`."""
        ...

    async def delete(self, key: Key, *, uid: str | None = None) -> None:
        """With `uid`, Conflict when the object of that name is another one."""
        ...

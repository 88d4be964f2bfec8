"""The state store: a live index to read, and writes that the index follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from registry_access.model.errors import InvalidManifest
from registry_access.model.resources import Key, Kind, Resource
from registry_access.state.event_recorder import EventWriter
from registry_access.state.index import ResourceIndex
from registry_access.state.leadership import Leadership

if TYPE_CHECKING:
    from registry_access.state.kubernetes.client.api import KubernetesApi

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HeldSecrets:
    """How current what is held of a workspace's Secrets is.

    `staleness`: seconds since it was last proven, inf when nothing is held. `problem`: why it cannot be proven now, in the
    server's own words; "" when nothing is wrong. `withheld`: why some are not held although they are named.
    """

    staleness: float
    problem: str = ""
    withheld: str = ""


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

    def unreadable_workspaces(self, limit: float) -> int:
        """How many workspaces have Secrets that were not proven current for `limit` seconds."""
        ...

    def secret_bytes(self) -> int:
        """Bytes of base64 that are held of all workspaces' Secrets, where that is bounded."""
        ...

    def problems(self) -> Sequence[InvalidManifest]:
        """Manifests that cannot be used now; the last good version of what they held is served."""
        ...

    async def start(self) -> None:
        """Returns when synced."""
        ...

    async def stop(self) -> None: ...

    @property
    def api(self) -> KubernetesApi | None:
        """The cluster that the state lives in; None for a folder."""
        ...

    @property
    def holds_deleted(self) -> bool:
        """Whether a deleted object stays until its finalizers are gone."""
        ...

    def event_writer(self, controller: str, instance: str) -> EventWriter:
        """Where Events of the objects in it are kept; `controller` and `instance` are the part of us that writes them."""
        ...

    def leadership(self, name: str) -> Leadership:
        """Of all processes that share the state, one at a time leads in what `name` says."""
        ...

    def control_plane_id(self) -> str:
        """What tells objects of this control plane from another's. Raises StateUnavailable when nothing was set up yet."""
        ...

    async def refresh(self, kind: Kind) -> None:
        """Reads a kind again, where nothing is watched that would bring its changes. Raises StateUnavailable."""
        ...

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

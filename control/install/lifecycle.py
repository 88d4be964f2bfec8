"""Creating, revoking, restoring, rotating and deleting installs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from control.session import Session
from registry_access.model.resources import Install, Key, Kind, Resource
from registry_access.model.resources.install import Standing

MAY_PULL = "may pull"


@dataclass(frozen=True, slots=True)
class NewInstall:
    """A user's description of a new install. `targets` and `expires_at` are as in the manifest's spec."""

    name: str
    product: str = ""
    repositories: Sequence[str] = ()
    targets: Sequence[Mapping[str, Any]] = ()
    expires_at: str = ""


async def create_install(session: Session, wanted: NewInstall) -> Resource:
    """Raises AlreadyExists, InvalidManifest, StateError."""
    await session.ensure_workspace()
    spec = {
        "product": wanted.product,
        "repositories": list(wanted.repositories),
        "targets": list(wanted.targets),
        "expiresAt": wanted.expires_at,
    }
    return await session.store.create(session.manifest(Kind.INSTALL, wanted.name, spec))


async def revoke_install(session: Session, name: str) -> Resource:
    """Refuses the install's pulls and cuts pulls in progress. Raises NotFound, StateError."""
    return await session.store.patch(session.install(name).key, {"spec": {"revoked": True}})


async def restore_install(session: Session, name: str) -> Resource:
    """Undoes a revocation. Raises NotFound, StateError."""
    return await session.store.patch(session.install(name).key, {"spec": {"revoked": None}})


async def rotate_install(session: Session, name: str) -> Resource:
    """Invalidates every token minted so far. Raises NotFound, Conflict, StateError."""
    found = session.install(name)
    change = {"spec": {"tokenGeneration": found.token_generation + 1}}
    return await session.store.patch(found.key, change, resource_version=found.metadata.resource_version)


async def delete_install(session: Session, name: str) -> None:
    """Raises NotFound, StateError."""
    found = session.install(name)
    await session.store.delete(found.key, uid=found.metadata.uid)


def entitlement(session: Session, install: Install) -> list[str]:
    """The patterns that the install may pull, including those of its product."""
    return [str(pattern) for pattern in session.index.entitlement(install).patterns]


def install_state(session: Session, name: str) -> str:
    """`MAY_PULL`, or why the install may not pull: deleted, revoked or expired."""
    install = session.index.get(Key(Kind.INSTALL, session.workspace, name))
    if not isinstance(install, Install) or install.deleting:
        return "deleted"
    standing = install.standing(datetime.now(UTC))
    return MAY_PULL if standing is Standing.GOOD else str(standing)

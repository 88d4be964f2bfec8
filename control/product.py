"""Products: named sets of repositories that a customer can buy."""

from __future__ import annotations

from collections.abc import Sequence

from control.session import CLI_MANAGER, Session
from registry_access.model.resources import Kind, Resource


async def apply_product(session: Session, name: str, repositories: Sequence[str]) -> Resource:
    """Creates a product, or replaces its repositories. Raises InvalidManifest, StateError."""
    await session.ensure_workspace()
    manifest = session.manifest(Kind.PRODUCT, name, {"repositories": list(repositories)})
    return await session.store.apply(manifest, manager=CLI_MANAGER)


def installs_with(session: Session, product: str) -> list[str]:
    """The names of the installs that use the product, and would lose its repositories if it were deleted."""
    return [item.metadata.name for item in session.installs() if item.product == product]


async def delete_product(session: Session, name: str) -> None:
    """Raises NotFound, StateError."""
    found = session.product(name)
    await session.store.delete(found.key, uid=found.metadata.uid)

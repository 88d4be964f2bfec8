"""What an install gives to the clusters that pull: its token, and the objects for a cluster that nobody may reach into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control.session import Session
from registry_access.model.errors import InvalidInput
from webhook.assembly import build_install_sync
from webhook.install_sync.minting import InstallToken
from webhook.metrics import WebhookMetrics


async def install_token(session: Session, name: str) -> InstallToken:
    """The token that opens the proxy for the install. Needs a session with what was provisioned. Raises NotFound, StateError."""
    parts = await build_install_sync(session.settings, session.store, WebhookMetrics())
    return parts.reconciler.token(session.install(name))


async def install_bundle(session: Session, name: str) -> list[Mapping[str, Any]]:
    """The install's pull Secrets and pull grants, as manifests. Raises NotFound, InvalidInput, StateError."""
    parts = await build_install_sync(session.settings, session.store, WebhookMetrics())
    objects = parts.reconciler.bundle(session.install(name))
    if not objects:
        raise InvalidInput(f"install {name} has no target namespace", field="spec.targets", remedy="name one on the install")
    return objects

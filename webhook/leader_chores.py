"""The leader's work in a cluster besides the install sync: certificates, and the proxy's rights to workspaces."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from registry_access.model.certificate_names import CA_SECRET, PROXY_CERTIFICATE, WEBHOOK_CERTIFICATE
from registry_access.settings import Settings
from registry_access.state.interface import StateStore
from registry_access.state.kubernetes.client.raw_objects import RawObjects
from registry_access.state.leadership import Work
from webhook.certificates.foreign_trust import ForeignTrust
from webhook.certificates.keeper import CertificateKeeper, Served
from webhook.certificates.publication import Publication
from webhook.workspace_access import WorkspaceAccess

logger = logging.getLogger(__name__)
_PAUSE_SECONDS = 5.0


def leader_chores(settings: Settings, store: StateStore) -> Mapping[str, Work]:
    """The chores by name; each runs until cancelled. Empty for a folder."""
    if store.api is None:
        return {}
    objects = RawObjects(store.api)
    chores: dict[str, Work] = {"workspace access": WorkspaceAccess(store.index, objects).run}
    served = _served(settings)
    if served.webhook or served.proxy:
        chores["certificates"] = CertificateKeeper(store, objects, served, time.time).run
    if settings.certificates == "external" and settings.proxy_tls:
        chores["trust in others' certificates"] = ForeignTrust(store, Publication(objects)).run
    return chores


def kept_secrets(settings: Settings) -> frozenset[str]:
    """The names of the Secrets that the leader writes for certificates."""
    served = _served(settings)
    names = {WEBHOOK_CERTIFICATE: served.webhook, PROXY_CERTIFICATE: served.proxy}
    return frozenset({CA_SECRET, *(name for name, kept in names.items() if kept)}) if any(names.values()) else frozenset()


async def steadily(name: str, work: Work) -> None:
    """Repeats `work` until cancelled. An error in one chore must not stop the others."""
    while True:
        try:
            await work()
        except Exception:
            logger.exception("unexpected error in %s; restarting", name)
        await asyncio.sleep(_PAUSE_SECONDS)


def _served(settings: Settings) -> Served:
    managed = settings.certificates == "managed"
    return Served(
        settings.host,
        settings.external_url,
        webhook=managed and not settings.webhook_tls_certificate,
        proxy=managed and settings.proxy_tls and not settings.proxy_tls_certificate,
    )

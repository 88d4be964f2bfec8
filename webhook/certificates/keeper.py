"""Keeps the cluster's certificates: CA, serving certificates, and what must trust them. The leader's work.

A Lease is not a fence, so two leaders may do this at the same time for a moment. A Secret is written only if it is still as it
was read; the second one looks again.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry_access.model.certificate_names import (
    CA_ENTRY,
    CA_SECRET,
    CERTIFICATE_ENTRY,
    PROXY_CERTIFICATE,
    WEBHOOK_CERTIFICATE,
)
from registry_access.model.errors import NotFound, StateError
from registry_access.model.resources import Key, Kind, Secret
from registry_access.model.resources.metadata import MANAGED_BY_LABEL, SYSTEM_NAMESPACE
from registry_access.runtime.keeping import keep
from registry_access.runtime.tls.certificate_authority import certificates_in, has_issued
from registry_access.state.index import Change
from registry_access.state.interface import StateStore
from registry_access.state.kubernetes.client.raw_objects import SERVICE, RawObjects
from registry_access.state.signing_keys import ROTATE_ANNOTATION
from webhook.certificates.authorities import Authorities, RotationTimes
from webhook.certificates.publication import CERTIFICATE_MANAGER, LABELS, Publication
from webhook.certificates.serving import (
    PROXY_SERVICE,
    entries_to_write,
    has_only_our_authorities,
    is_somebody_elses,
    proxy_hosts,
    webhook_hosts,
)

logger = logging.getLogger(__name__)
AUTHORITY_TYPE = "registry.akua.dev/certificate-authority"
SERVING_TYPE = "kubernetes.io/tls"
_LOOK_SECONDS = 5.0  # for what no watch shows: the ConfigMap, the caBundle, the Service
_NAMES = frozenset({CA_SECRET, WEBHOOK_CERTIFICATE, PROXY_CERTIFICATE})


@dataclass(frozen=True, slots=True)
class Served:
    """What is to be kept: for each server that takes its certificate from its Secret. `host` may have a port."""

    host: str
    external_url: str = ""
    webhook: bool = True
    proxy: bool = True


class CertificateKeeper:
    """Makes what is missing, renews what ends, repairs what was spoilt, and leaves alone what others wrote: Secrets without our
    label, and usable certificates that none of our CAs issued.

    The annotation `registry.akua.dev/rotate-requested` on Secret `akua-ca` asks for a new CA, on a serving Secret for a new
    certificate. A spoilt CA Secret is never replaced: a person must restore or delete it.
    """

    def __init__(
        self,
        store: StateStore,
        objects: RawObjects,
        served: Served,
        clock: Callable[[], float],
        times: RotationTimes | None = None,
    ) -> None:
        self._store = store
        self._objects = objects
        self._publication = Publication(objects)
        self._served = served
        self._clock = clock
        self._times = times or RotationTimes()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        unsubscribe = self._store.index.subscribe(self._changed, {Kind.SECRET})
        try:
            await keep(self.look, _LOOK_SECONDS, self._wake, warning="the certificates cannot be kept", logger=logger)
        finally:
            unsubscribe()

    async def look(self) -> None:
        """Raises StateError, and InvalidInput when the CA Secret is spoilt."""
        now = self._clock()
        secrets = {name: await self._released(await self._find(name)) for name in self._kept()}
        authorities = await self._authorities(now, secrets)
        await self._publish(authorities, secrets)
        for name, found in secrets.items():
            await self._serve(name, found, authorities, now)

    def _kept(self) -> Sequence[str]:
        wanted = ((WEBHOOK_CERTIFICATE, self._served.webhook), (PROXY_CERTIFICATE, self._served.proxy))
        return [name for name, kept in wanted if kept]

    async def _authorities(self, now: float, secrets: Mapping[str, Secret | None]) -> Authorities:
        """The CAs as they are to be from now on; each is published before it is written down, so that none signs unknown."""
        ours = [secret for secret in secrets.values() if secret and _is_ours(secret)]
        found = await self._find(CA_SECRET)
        if found is None:
            made = Authorities.first(now, self._times, _issuers(ours))
            await self._publish(made, secrets)
            await self._store.create(_manifest(CA_SECRET, AUTHORITY_TYPE, made.to_data()))
            logger.info("created a CA: Secret %s/%s", SYSTEM_NAMESPACE, CA_SECRET)
            return made
        present = Authorities.from_data(found.data)
        requested = ROTATE_ANNOTATION in found.metadata.annotations
        served = [secret.data.get(CERTIFICATE_ENTRY, b"") for secret in ours]
        wanted = present.after(now, self._times, served, requested=requested)
        if wanted != present or requested:
            await self._publish(wanted, secrets)
            await self._write(found, wanted.to_data(), whole=True)
            logger.info("the CAs changed: %d are trusted", len(wanted.members))
        return wanted

    async def _publish(self, authorities: Authorities, secrets: Mapping[str, Secret | None]) -> None:
        """A certificate that others wrote is trusted by the CA that came with it; without one, its webhook's trust is theirs."""
        bundle = authorities.bundle()
        await self._publication.config_map(bundle + _foreign_authority(secrets.get(PROXY_CERTIFICATE)))
        if not self._served.webhook:
            return
        webhook = secrets.get(WEBHOOK_CERTIFICATE)
        authority = _foreign_authority(webhook)
        if authority or webhook is None or _is_ours(webhook):
            await self._publication.webhooks(bundle + authority)

    async def _serve(self, name: str, found: Secret | None, authorities: Authorities, now: float) -> None:
        if found is not None and not _is_ours(found):
            return
        requested = found is not None and ROTATE_ANNOTATION in found.metadata.annotations
        entries = entries_to_write(found, authorities, await self._hosts(name), now, requested=requested)
        if found is None:
            await self._store.create(_manifest(name, SERVING_TYPE, entries))
        elif entries:
            await self._write(found, entries)
        if CERTIFICATE_ENTRY in entries:
            logger.info("created a certificate: Secret %s/%s", SYSTEM_NAMESPACE, name)

    async def _hosts(self, name: str) -> Sequence[str]:
        if name == WEBHOOK_CERTIFICATE:
            return webhook_hosts()
        service = await self._objects.find(SERVICE, SYSTEM_NAMESPACE, PROXY_SERVICE)
        return proxy_hosts(self._served.host, self._served.external_url, service)

    async def _released(self, secret: Secret | None) -> Secret | None:
        """A Secret of ours into which a person put a certificate of their own is theirs from then on."""
        if secret is None or not _is_ours(secret) or not is_somebody_elses(secret):
            return secret
        patch: dict[str, Any] = {"metadata": {"labels": {MANAGED_BY_LABEL: None}}}
        if CA_ENTRY in secret.data and has_only_our_authorities(secret.data[CA_ENTRY]):
            patch["data"] = {CA_ENTRY: None}  # it came with our certificate, and does not vouch for theirs
        released = await self._store.patch(secret.key, patch, resource_version=secret.metadata.resource_version)
        logger.info("%s holds a certificate from another issuer; leaving it unchanged", secret.key)
        return released if isinstance(released, Secret) else secret

    async def _find(self, name: str) -> Secret | None:
        key = Key(Kind.SECRET, SYSTEM_NAMESPACE, name)
        try:
            found = await self._store.read(key)
        except NotFound:
            return None
        if not isinstance(found, Secret):
            raise StateError(f"{key} is not a Secret")
        return found

    async def _write(self, found: Secret, entries: Mapping[str, bytes], *, whole: bool = False) -> None:
        """`whole`: entries that are not named go. Raises Conflict when somebody else wrote meanwhile."""
        gone = {entry: None for entry in found.data if whole and entry not in entries}
        patch = {
            "metadata": {"annotations": {ROTATE_ANNOTATION: None}},
            "data": {**{entry: base64.b64encode(value).decode() for entry, value in entries.items()}, **gone},
        }
        await self._store.patch(found.key, patch, resource_version=found.metadata.resource_version)

    def _changed(self, change: Change) -> None:
        if change.key.namespace == SYSTEM_NAMESPACE and change.key.name in _NAMES:
            self._wake.set()


def _is_ours(secret: Secret) -> bool:
    return secret.metadata.labels.get(MANAGED_BY_LABEL) == CERTIFICATE_MANAGER


def _issuers(ours: Sequence[Secret]) -> Sequence[bytes]:
    """The CA certificates that came with the certificates that are served, of CAs whose keys are lost."""
    return [
        authority
        for secret in ours
        for authority in certificates_in(secret.data.get(CA_ENTRY, b""))
        if has_issued(authority, secret.data.get(CERTIFICATE_ENTRY, b""))
    ]


def _foreign_authority(secret: Secret | None) -> bytes:
    """PEM; empty when the certificate is our own."""
    if secret is None or _is_ours(secret):
        return b""
    return b"".join(certificates_in(secret.data.get(CA_ENTRY, b"")))


def _manifest(name: str, type: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE, "labels": LABELS},
        "type": type,
        "data": {entry: base64.b64encode(value).decode() for entry, value in data.items()},
    }

"""Where others make the certificates: the CA that came with the proxy's is published for the nodes, and nothing else is written.

cert-manager puts the issuer's CA beside each certificate, and nowhere where a node may read it.
"""

from __future__ import annotations

import logging

from registry_access.model.certificate_names import CA_ENTRY, PROXY_CERTIFICATE
from registry_access.model.errors import NotFound
from registry_access.model.resources import Key, Kind, Secret
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.runtime.keeping import keep
from registry_access.runtime.tls.certificate_authority import certificates_in
from registry_access.state.interface import StateStore
from webhook.certificates.publication import Publication

logger = logging.getLogger(__name__)
_LOOK_SECONDS = 15.0


class ForeignTrust:
    """Keeps ConfigMap `akua-ca` equal to the `ca.crt` of Secret `akua-proxy-tls`. A certificate without one needs no CA of ours:
    it is a public one, and the ConfigMap is left as it is.
    """

    def __init__(self, store: StateStore, publication: Publication) -> None:
        self._store = store
        self._publication = publication

    async def run(self) -> None:
        """Until cancelled."""
        await keep(self.look, _LOOK_SECONDS, warning="the CA of others' certificates cannot be published", logger=logger)

    async def look(self) -> None:
        """Raises StateError."""
        try:
            found = await self._store.read(Key(Kind.SECRET, SYSTEM_NAMESPACE, PROXY_CERTIFICATE))
        except NotFound:
            return
        if isinstance(found, Secret) and (authorities := certificates_in(found.data.get(CA_ENTRY, b""))):
            await self._publication.config_map(b"".join(authorities))

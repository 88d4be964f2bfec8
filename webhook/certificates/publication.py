"""Publishes the trusted CAs: in the ConfigMap `akua-ca` and in the caBundle of each of our webhooks."""

from __future__ import annotations

import base64
import logging

from registry_access.model.certificate_names import CA_CONFIG_MAP, CA_ENTRY
from registry_access.model.resources.metadata import MANAGED_BY_LABEL, PART_OF, SYSTEM_NAMESPACE
from registry_access.state.kubernetes.client.raw_objects import CONFIG_MAP, MUTATING_WEBHOOKS, RawObjects

logger = logging.getLogger(__name__)
CERTIFICATE_MANAGER = "akua-certificates"
WEBHOOK_CONFIGURATIONS = ("akua-webhook", "zz-akua-webhook")  # asked first and last (manifests/base/webhook)
LABELS = {MANAGED_BY_LABEL: CERTIFICATE_MANAGER, **PART_OF}


class Publication:
    """Writes only what is not as it should be. Raises StateError, and InvalidManifest when the webhooks change meanwhile."""

    def __init__(self, objects: RawObjects) -> None:
        self._objects = objects

    async def config_map(self, bundle: bytes) -> None:
        text = bundle.decode("ascii")
        found = await self._objects.find(CONFIG_MAP, SYSTEM_NAMESPACE, CA_CONFIG_MAP)
        if found is not None and (found.get("data") or {}).get(CA_ENTRY) == text:
            return
        metadata = {"name": CA_CONFIG_MAP, "namespace": SYSTEM_NAMESPACE, "labels": LABELS}
        await self._objects.apply(CONFIG_MAP, {"metadata": metadata, "data": {CA_ENTRY: text}}, manager=CERTIFICATE_MANAGER)
        logger.info("published the CA bundle in ConfigMap %s/%s", SYSTEM_NAMESPACE, CA_CONFIG_MAP)

    async def webhooks(self, bundle: bytes) -> None:
        """Writes nothing but caBundle: some platforms add selectors of their own. A configuration that is absent stays so."""
        for name in WEBHOOK_CONFIGURATIONS:
            await self._webhooks_of(name, base64.b64encode(bundle).decode())

    async def _webhooks_of(self, name: str, wanted: str) -> None:
        found = await self._objects.find(MUTATING_WEBHOOKS, "", name)
        operations: list[dict[str, object]] = []
        for place, webhook in enumerate((found or {}).get("webhooks") or ()):
            if webhook.get("clientConfig", {}).get("caBundle") != wanted:
                # The test makes sure that the same webhook still stands in this place.
                operations.append({"op": "test", "path": f"/webhooks/{place}/name", "value": webhook["name"]})
                operations.append({"op": "add", "path": f"/webhooks/{place}/clientConfig/caBundle", "value": wanted})
        if operations:
            await self._objects.patch(MUTATING_WEBHOOKS, "", name, operations, manager=CERTIFICATE_MANAGER)
            logger.info("wrote the caBundle of MutatingWebhookConfiguration %s", name)

"""Single objects of kinds that are no resources of ours, as JSON: Services, ConfigMaps, RoleBindings, webhook configurations.

Nothing is watched or kept: every call asks the API server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry_access.model.errors import NotFound
from registry_access.state.kubernetes.client.api import APPLY_PATCH
from registry_access.state.kubernetes.client.interface import Api
from registry_access.state.kubernetes.client.resource_path import path_of

RawObject = Mapping[str, Any]
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True, slots=True)
class RawKind:
    """A kind as manifests and paths name it."""

    api_version: str
    kind: str
    plural: str


SERVICE = RawKind("v1", "Service", "services")
CONFIG_MAP = RawKind("v1", "ConfigMap", "configmaps")
ROLE_BINDING = RawKind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
MUTATING_WEBHOOKS = RawKind("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations")


class RawObjects:
    """`namespace` is "" for kinds that live in none. Raises StateError's subclasses, and InvalidManifest."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def find(self, kind: RawKind, namespace: str, name: str) -> RawObject | None:
        """The object as it is now; None when there is none. Needs the right to `get` it."""
        try:
            return await self._api.request("GET", path_of(kind.api_version, kind.plural, namespace, name))
        except NotFound:
            return None

    async def everywhere(self, kind: RawKind, name: str) -> Sequence[RawObject]:
        """The objects of that name in all namespaces. The right to `list` by resourceNames is enough for it."""
        query = {"fieldSelector": f"metadata.name={name}"}
        found = await self._api.request("GET", path_of(kind.api_version, kind.plural, ""), query=query, timeout=30.0)
        items: Sequence[RawObject] = found.get("items") or ()
        return items

    async def apply(self, kind: RawKind, manifest: RawObject, *, manager: str) -> RawObject:
        """Server-side apply, conflicts forced. `manifest` has metadata; apiVersion and kind are `kind`'s."""
        metadata = manifest["metadata"]
        path = path_of(kind.api_version, kind.plural, metadata.get("namespace", ""), metadata["name"])
        body = {"apiVersion": kind.api_version, "kind": kind.kind, **manifest}
        query = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
        return await self._api.request("PATCH", path, body=body, query=query, content_type=APPLY_PATCH)

    async def patch(
        self, kind: RawKind, namespace: str, name: str, operations: Sequence[Mapping[str, object]], *, manager: str
    ) -> RawObject:
        """A JSON patch (RFC 6902); InvalidManifest when one of its tests fails."""
        path = path_of(kind.api_version, kind.plural, namespace, name)
        query = {"fieldManager": manager}
        return await self._api.request("PATCH", path, body=list(operations), query=query, content_type=JSON_PATCH)

    async def delete(self, kind: RawKind, namespace: str, name: str, *, uid: str) -> None:
        """Conflict when the object of that name is another one."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        await self._api.request("DELETE", path_of(kind.api_version, kind.plural, namespace, name), body=options)

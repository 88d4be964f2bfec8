"""The API server as the doctor asks it: nothing is watched, kept or changed, and a refusal is an answer like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry_access.model.errors import InvalidManifest, StateError
from registry_access.model.resources import Kind
from registry_access.state.kubernetes.client.interface import Api
from registry_access.state.kubernetes.client.raw_objects import RawKind, RawObject, RawObjects
from registry_access.state.kubernetes.client.resource_path import PLURALS, path_of

DEPLOYMENT = RawKind("apps/v1", "Deployment", "deployments")
DAEMON_SET = RawKind("apps/v1", "DaemonSet", "daemonsets")
ENDPOINT_SLICE = RawKind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
LEASE = RawKind("coordination.k8s.io/v1", "Lease", "leases")
POD = RawKind("v1", "Pod", "pods")
EVENT = RawKind("v1", "Event", "events")
_REVIEWS = "/apis/authorization.k8s.io/v1"


def raw_kind(kind: Kind) -> RawKind:
    """A kind of ours as a raw one."""
    return RawKind(kind.api_version, str(kind), PLURALS[kind])


@dataclass(frozen=True, slots=True)
class Lookup:
    """One object as it is; None when there is none. `problem` says why it could not be looked at, "" otherwise."""

    object: RawObject | None = None
    problem: str = ""

    @property
    def seen(self) -> bool:
        return not self.problem

    def at(self, *path: str) -> Any:
        """What stands at `path` in the object, None when something on the way is missing."""
        found: Any = self.object
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


@dataclass(frozen=True, slots=True)
class Listing:
    """`problem` says why there is no list."""

    items: Sequence[RawObject] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ResourceAttributes:
    """What RBAC is asked for; "" for `namespace`: everywhere, for `name`: any."""

    verb: str
    resource: str
    group: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        resource = self.resource + (f"/{self.subresource}" if self.subresource else "")
        return f"{self.verb} {resource}{f' {self.name}' if self.name else ''}{f' in {self.namespace}' if self.namespace else ''}"

    def attributes(self) -> dict[str, str]:
        named = {item: getattr(self, item) for item in ("verb", "resource", "group", "namespace", "name", "subresource")}
        return {name: value for name, value in named.items() if value}


class ClusterView:
    """See the module. Only `may`, `try_pod` and `everywhere` raise."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._objects = RawObjects(api)

    async def look_up(self, kind: RawKind, namespace: str, name: str) -> Lookup:
        try:
            return Lookup(await self._objects.find(kind, namespace, name))
        except StateError as error:
            return Lookup(problem=str(error))

    async def list(self, kind: RawKind, namespace: str = "", *, labels: str = "", fields: str = "", limit: int = 0) -> Listing:
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(limit) if limit else ""}
        path = path_of(kind.api_version, kind.plural, namespace)
        try:
            found = await self.api.request("GET", path, query={name: value for name, value in query.items() if value})
        except StateError as error:
            return Listing(problem=str(error))
        return Listing(found.get("items") or ())

    async def everywhere(self, kind: RawKind, name: str) -> Sequence[RawObject]:
        """The objects of that name in all namespaces. Raises StateError."""
        return await self._objects.everywhere(kind, name)

    async def may(self, access: ResourceAttributes, user: str = "") -> bool:
        """Whether `user`, or we ourselves, may do this. Raises StateError when that may not be asked."""
        spec: dict[str, Any] = {"resourceAttributes": access.attributes()} | ({"user": user} if user else {})
        kind = "SubjectAccessReview" if user else "SelfSubjectAccessReview"
        if user.startswith("system:serviceaccount:"):
            namespace = user.split(":")[2]
            spec["groups"] = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        answer = await self.api.request("POST", f"{_REVIEWS}/{kind.lower()}s", body=body)
        return bool((answer.get("status") or {}).get("allowed"))

    async def try_pod(self, namespace: str, manifest: Mapping[str, Any]) -> RawObject:
        """The pod as it would be after admission; a dry run, nothing is created. Raises StateError, InvalidManifest."""
        path = path_of(POD.api_version, POD.plural, namespace)
        return await self.api.request("POST", path, body=manifest, query={"dryRun": "All"})


REFUSED = (StateError, InvalidManifest)

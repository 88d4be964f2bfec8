"""Rights: what the person's commands need, what the processes need, and what they must not have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from control.doctor.cluster.installation import PROXY, WEBHOOK
from control.doctor.cluster.view import ClusterView, ResourceAttributes
from control.doctor.finding import Check, bad, good, unseen, warning
from registry_access.model.errors import StateError
from registry_access.model.listing import and_more
from registry_access.model.resources import Kind
from registry_access.model.resources.metadata import GROUP, SYSTEM_NAMESPACE
from registry_access.state.kubernetes.client.raw_objects import ROLE_BINDING
from registry_access.state.kubernetes.client.resource_path import PLURALS

_WORKSPACES_LOOKED_AT = 10
_AT_ONCE = 8
_WATCHES = ("list", "watch")
_OWNED = tuple(PLURALS[kind] for kind in (Kind.REGISTRY_CREDENTIAL, Kind.PRODUCT, Kind.INSTALL))
_APPLY = "`kubectl apply -k` the overlay again: its RBAC is not as it was"
WORKSPACE_ROLE = "akua-workspace-secrets"


def _all(verbs: Iterable[str], resources: Iterable[str], group: str = GROUP, **where: str) -> list[ResourceAttributes]:
    return [ResourceAttributes(verb, resource, group, **where) for resource in resources for verb in verbs]


# Of the manifests' rules those without which something that people wait for does not happen.
NEEDED: dict[str, Sequence[ResourceAttributes]] = {
    PROXY: (
        *_all(_WATCHES, ["namespaces"], ""),
        *_all(_WATCHES, _OWNED),
        *_all(["patch"], ["installs", "registrycredentials"], subresource="status"),
        *_all(["get", "patch"], _OWNED, namespace=SYSTEM_NAMESPACE, name="akua-heartbeat"),
        *_all(_WATCHES, ["secrets"], "", namespace=SYSTEM_NAMESPACE, name="akua-install-token-jwks"),
        *_all(_WATCHES, ["secrets"], "", namespace=SYSTEM_NAMESPACE, name="akua-access-token-keys"),
        *_all(_WATCHES, ["secrets"], "", namespace=SYSTEM_NAMESPACE, name="akua-proxy-tls"),
    ),
    WEBHOOK: (
        *_all(_WATCHES, ["namespaces"], ""),
        *_all(_WATCHES, ["products", "installs", "pullgrants"]),
        *_all(["create", "patch", "delete"], ["pullgrants"]),
        *_all(["create", "patch", "delete"], ["secrets"], ""),
        *_all(["patch"], ["installs"], subresource="status"),
        *_all(["get", "patch"], ["products", "installs", "pullgrants"], namespace=SYSTEM_NAMESPACE, name="akua-heartbeat"),
        *_all(["get", "update"], ["leases"], "coordination.k8s.io", namespace=SYSTEM_NAMESPACE, name="akua-install-sync"),
        *_all(["bind"], ["clusterroles"], "rbac.authorization.k8s.io", name=WORKSPACE_ROLE),
    ),
}
# What makes a stolen token worth more than it must be.
EXCESSIVE: dict[str, Sequence[ResourceAttributes]] = {
    PROXY: (
        ResourceAttributes("list", "secrets"),
        ResourceAttributes("get", "secrets", namespace=SYSTEM_NAMESPACE, name="akua-install-token-keys"),
        ResourceAttributes("create", "pods"),
    ),
    WEBHOOK: (
        ResourceAttributes("create", "pods"),
        ResourceAttributes("create", "clusterrolebindings", "rbac.authorization.k8s.io"),
    ),
}
# What `akua` commands without --workspace begin with.
_READING = (*_all(["list"], ["namespaces"], ""), *_all(["list"], _OWNED))


async def account_checks(view: ClusterView) -> list[Check]:
    """A line a ServiceAccount."""
    return [await _account(view, name) for name in (WEBHOOK, PROXY)]


async def own_checks(view: ClusterView, workspaces: Sequence[str]) -> list[Check]:
    """What the person that asks may do: everywhere, and in the first few workspaces."""
    try:
        return [await _reading(view), *[await _changing(view, name) for name in workspaces[:_WORKSPACES_LOOKED_AT]]]
    except StateError as error:
        return [unseen("rights", str(error), "cannot be asked for")]


async def _reading(view: ClusterView) -> Check:
    lacking = await _denied(view, _READING)
    if lacking:
        told = f"you may not {_told(lacking)}: `akua` commands work for you with --workspace only"
        return warning("rights", f"{told}, in the namespaces that are yours")
    return good("rights", "you may read all workspaces: `akua` commands work")


async def _changing(view: ClusterView, workspace: str) -> Check:
    wanted = [
        *_all(["list", "create", "patch", "delete"], _OWNED, namespace=workspace),
        *_all(["list", "create", "patch"], ["secrets"], "", namespace=workspace),
    ]
    if lacking := await _denied(view, wanted):
        return warning(f"rights {workspace}", f"you may not {_told(lacking)}; the ClusterRole edit in {workspace} lets you")
    return good(f"rights {workspace}", "you may see and change credentials, products and installs")


async def workspace_checks(view: ClusterView, workspaces: Sequence[str]) -> list[Check]:
    """Whether the proxy is let into the Secrets of each workspace."""
    try:
        found = await view.everywhere(ROLE_BINDING, PROXY)
    except StateError as error:
        return [unseen("workspaces", str(error), f"the RoleBindings {PROXY} cannot be looked at")]
    bound = {item["metadata"]["namespace"] for item in found if (item.get("roleRef") or {}).get("name") == WORKSPACE_ROLE}
    missing = [workspace for workspace in workspaces if workspace not in bound]
    remedy = "the leader of akua-webhook writes it within seconds: see its log, and leader above"
    checks = [
        bad(f"workspace {name}", f"has no RoleBinding {PROXY} to {WORKSPACE_ROLE}: the proxy cannot read its secrets; {remedy}")
        for name in missing
    ]
    if not workspaces:
        return [good("workspaces", "there is none yet")]
    return checks or [good("workspaces", f"the proxy is let into the secrets of all {len(workspaces)}")]


async def _account(view: ClusterView, name: str) -> Check:
    check, user = f"rights {name}", f"system:serviceaccount:{SYSTEM_NAMESPACE}:{name}"
    try:
        lacking = await _denied(view, NEEDED[name], user)
        excessive = [item for item in EXCESSIVE[name] if item not in await _denied(view, EXCESSIVE[name], user)]
    except StateError as error:
        return unseen(check, str(error), "cannot be asked for")
    if lacking:
        return bad(check, f"may not {_told(lacking)}; {_APPLY}")
    if excessive:
        return warning(check, f"may {_told(excessive)}, which it does not need: which binding of yours gives it?")
    return good(check, "has what it needs, and none of what it must not have")


async def _denied(view: ClusterView, wanted: Sequence[ResourceAttributes], user: str = "") -> list[ResourceAttributes]:
    """Raises StateError."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def ask(access: ResourceAttributes) -> bool:
        async with limit:
            return await view.may(access, user)

    answers = await asyncio.gather(*map(ask, wanted))
    return [access for access, allowed in zip(wanted, answers, strict=True) if not allowed]


def _told(accesses: Sequence[ResourceAttributes], at_most: int = 3) -> str:
    return and_more(accesses, at_most)

"""The pods that run images pulled through installs, searched for in every cluster that the installs target."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from control.session import Session
from registry_access.model.errors import AkuaError, InvalidInput, StateUnavailable
from registry_access.model.listing import and_more
from registry_access.model.resources import Install, Key, Kind, Secret
from registry_access.model.resources.metadata import INSTALL_WORKSPACE_LABEL
from registry_access.state.kubernetes.client.api import Gone, KubernetesApi, Unavailable
from registry_access.state.kubernetes.client.interface import Api
from registry_access.state.kubernetes.kubeconfig.foreign import foreign_access
from registry_access.state.kubernetes.pods import unfinished_pods
from webhook.attribution import PullingPod, pulling_pod
from webhook.install_sync.clusters.remote_clusters import kubeconfig_in

_FORBIDDEN = 403
_AT_ONCE = 16
_ONE_BY_ONE = 10  # namespaces; beyond this, the whole cluster is listed
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class FoundPod:
    """`cluster` names the kubeconfig Secret of the cluster that it runs in; "" means this cluster."""

    cluster: str
    pod: PullingPod


@dataclass(slots=True)
class Search:
    """`problems` says what could not be searched, and why."""

    pods: list[FoundPod] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


async def search_pods(
    session: Session, installs: Collection[Install], wanted: Callable[[PullingPod], bool], *, everywhere: bool
) -> Search:
    """The `wanted` pods in the targets of `installs`, or in all namespaces with `everywhere`.

    Raises StateUnavailable if nothing could be searched.
    """
    search = Search()
    local = session.store.api
    if local is None:
        raise no_cluster()
    hosts = {session.settings.host}
    here = [install for install in installs if not install.kubeconfig_secret]
    if here or everywhere:
        await _search_cluster(local, "", _namespaces(here), everywhere, hosts, search)
    search.pods = await _of_this_workspace(session, [found for found in search.pods if wanted(found.pod)])
    secrets = {name for install in installs for name in (install.kubeconfig_secret, *install.status.clusters) if name}
    for secret in sorted(secrets):
        there = [install for install in installs if secret in (install.kubeconfig_secret, *install.status.clusters)]
        try:
            api = KubernetesApi(foreign_access(kubeconfig_in(await _secret(session, secret))))
        except (AkuaError, Gone) as error:
            search.problems.append(f"the cluster of Secret {secret}: {error}")
            continue
        try:
            await _search_cluster(api, secret, _namespaces(there), everywhere, hosts, search)
        finally:
            await api.close()
    search.pods = [found for found in search.pods if wanted(found.pod)]
    if search.problems and not search.pods:
        raise StateUnavailable("; ".join(search.problems))
    search.pods.sort(key=lambda found: (found.cluster, found.pod.namespace, found.pod.name))
    return search


def no_cluster() -> InvalidInput:
    """The error for state in a folder."""
    return InvalidInput(
        "cannot search for pods without a cluster: state is in a folder",
        remedy="set AKUA_STATE=kubernetes; `akua audit list` shows the pods that were admitted",
    )


async def _search_cluster(
    api: Api, cluster: str, namespaces: Sequence[str], everywhere: bool, hosts: Collection[str], search: Search
) -> None:
    where = f"in the cluster of Secret {cluster}" if cluster else "in this cluster"
    forbidden: list[str] = []
    try:
        if everywhere or len(namespaces) > _ONE_BY_ONE:
            if await _list(api, cluster, "", hosts, search):
                return
            forbidden = ["all namespaces"] if everywhere else []
        for namespace in namespaces:
            if not await _list(api, cluster, namespace, hosts, search):
                forbidden.append(namespace)
    except (StateUnavailable, Gone) as error:
        search.problems.append(f"pods {where} could not be listed: {error}")
    if forbidden:
        shown = and_more(forbidden, _SHOWN)
        search.problems.append(f"you may not list pods {where}, in {shown}; ask for the right to list pods there")


async def _list(api: Api, cluster: str, namespace: str, hosts: Collection[str], search: Search) -> bool:
    """False if that is not allowed."""
    try:
        async for manifest in unfinished_pods(api, namespace):
            if (pod := pulling_pod(manifest, hosts)) is not None:
                search.pods.append(FoundPod(cluster, pod))
    except Unavailable as error:
        if error.status != _FORBIDDEN:
            raise
        return False
    return True


def _namespaces(installs: Collection[Install]) -> Sequence[str]:
    named = {target.namespace for install in installs for target in install.targets if target.namespace}
    return sorted(named | {target.namespace for install in installs for target in install.status.targets})


async def _of_this_workspace(session: Session, pods: Sequence[FoundPod]) -> list[FoundPod]:
    """Leaves out pods whose installs all belong to another workspace, according to the grants of their names."""
    places = {(found.pod.namespace, install) for found in pods for install in found.pod.installs}
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def is_ours(namespace: str, install: str) -> bool:
        async with at_once:
            try:
                grant = await session.store.read(Key(Kind.PULL_GRANT, namespace, install))
            except AkuaError:
                return True  # it is gone, or the user may not read it
        return grant.metadata.labels.get(INSTALL_WORKSPACE_LABEL, session.workspace) == session.workspace

    answers = await asyncio.gather(*(is_ours(*place) for place in places))
    ours = {place for place, answer in zip(places, answers, strict=True) if answer}
    return [
        found
        for found in pods
        if not found.pod.installs or any((found.pod.namespace, install) in ours for install in found.pod.installs)
    ]


async def _secret(session: Session, name: str) -> Secret:
    found = session.index.secret(session.workspace, name) or await session.store.read(Key(Kind.SECRET, session.workspace, name))
    if not isinstance(found, Secret):
        raise StateUnavailable(f"Secret {name} cannot be read")
    return found

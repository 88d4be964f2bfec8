"""Credentials, products, installs and pull grants of a cluster, read once into an index, as far as they may be seen."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from control.doctor.finding import Check, bad, unseen
from control.doctor.resources import state_check
from registry_access.model.errors import InvalidManifest, StateError
from registry_access.model.resources import Key, Kind
from registry_access.state.index import ResourceIndex
from registry_access.state.kubernetes.client.api import Gone
from registry_access.state.kubernetes.client.interface import Api
from registry_access.state.kubernetes.client.resource_path import PLURALS, WatchScope, object_path
from registry_access.state.kubernetes.watch.feed import Feed
from registry_access.state.kubernetes.watch.listing import list_into

_TARGETS_LOOKED_AT = 50  # namespaces, one by one
_KINDS = (Kind.NAMESPACE, Kind.PRODUCT, Kind.REGISTRY_CREDENTIAL, Kind.INSTALL)


@dataclass(slots=True)
class State:
    """`unseen_secrets`: the workspaces whose Secrets could not be read; `unseen_grants`: why pull grants could not be."""

    index: ResourceIndex = field(default_factory=ResourceIndex)
    checks: list[Check] = field(default_factory=list)
    unseen_secrets: set[str] = field(default_factory=set)
    unseen_grants: str = ""
    credentials_seen: bool = False

    def workspaces(self, only: str = "") -> list[str]:
        """Those that are labelled and stay; `only`: that one."""
        return [only] if only else [name for name in self.index.workspaces() if not self.is_going(name)]

    def is_going(self, namespace: str) -> bool:
        """Whether a namespace is being deleted, as far as that can be seen."""
        found = self.index.namespace(namespace)
        return found is not None and found.deleting


async def read_state(api: Api, workspace: str = "") -> State:
    """Of all workspaces, or of one."""
    state = State()
    problems: list[InvalidManifest] = []
    feed = Feed(state.index, problems.append)
    unread: list[Check] = []
    remedy = "" if workspace else "; with --workspace, one of your own namespaces can be looked at"
    for kind in _KINDS:
        if kind is Kind.NAMESPACE and workspace:
            await _read_namespace(api, feed, workspace)
            continue
        problem = await _read(api, feed, WatchScope(kind, workspace if kind.namespaced else ""))
        state.credentials_seen = state.credentials_seen or (kind is Kind.REGISTRY_CREDENTIAL and not problem)
        if problem:
            unread.append(unseen(f"state {PLURALS[kind]}", problem + remedy, "cannot be read"))
        elif kind is Kind.NAMESPACE:
            state.index.sees_namespaces = True
    secrets = sorted({item.workspace for item in state.index.all_credentials() if item.secret_name})
    answers = await asyncio.gather(*(_read(api, feed, WatchScope(Kind.SECRET, name)) for name in secrets))
    state.unseen_secrets = {name for name, problem in zip(secrets, answers, strict=True) if problem}
    state.unseen_grants = await _read_grants(api, feed, state.index)
    index = state.index
    state.checks = unread or [state_check(index)]
    state.checks += [bad("state", str(problem)) for problem in problems]
    return state


async def _read_namespace(api: Api, feed: Feed, name: str) -> None:
    """Its label is looked at as far as that is allowed; the member of a workspace may not read its namespace everywhere."""
    key = Key(Kind.NAMESPACE, "", name)
    with contextlib.suppress(StateError):
        feed.put(key, await api.request("GET", object_path(key)))


async def _read_grants(api: Api, feed: Feed, index: ResourceIndex) -> str:
    """Everywhere or, where that is not allowed, in the namespaces that the installs were synced to."""
    problem = await _read(api, feed, WatchScope(Kind.PULL_GRANT))
    if not problem:
        return ""
    targets = sorted({target.namespace for install in index.installs() for target in install.status.targets})
    answers = [await _read(api, feed, WatchScope(Kind.PULL_GRANT, namespace)) for namespace in targets[:_TARGETS_LOOKED_AT]]
    return "" if "" in answers else problem


async def _read(api: Api, feed: Feed, scope: WatchScope) -> str:
    """Why it could not be read, "" when it was."""
    try:
        await list_into(feed, api, scope)
    except (StateError, Gone) as error:
        return str(error)
    return ""

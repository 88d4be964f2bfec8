"""Gives the proxy access to a workspace's Secrets: a RoleBinding in each namespace with the workspace label, and in no other.

The leader does this. If two processes lead for a moment, both write the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from registry_access.model.errors import AkuaError, Conflict, NotFound
from registry_access.model.resources import Kind, Namespace
from registry_access.model.resources.metadata import MANAGED_BY_LABEL, PART_OF, SYSTEM_NAMESPACE
from registry_access.runtime.keeping import keep
from registry_access.state.index import Change, ResourceIndex
from registry_access.state.kubernetes.client.raw_objects import ROLE_BINDING, RawObject, RawObjects

logger = logging.getLogger(__name__)
WORKSPACE_ACCESS_MANAGER = "akua-workspace-access"
NAME = "akua-proxy"
_LOOK_SECONDS = 10.0  # role bindings are not watched
_AT_ONCE = 8
_GRANT: Mapping[str, Any] = {
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "akua-workspace-secrets"},
    "subjects": [{"kind": "ServiceAccount", "name": "akua-proxy", "namespace": SYSTEM_NAMESPACE}],
}


class WorkspaceAccess:
    """Leaves a binding of that name without our label `managed-by` alone, and warns if it gives the proxy no access."""

    def __init__(self, index: ResourceIndex, objects: RawObjects) -> None:
        self._index = index
        self._objects = objects
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        unsubscribe = self._index.subscribe(self._changed, {Kind.NAMESPACE})
        try:
            warning = "the proxy's access to a workspace could not be set up"
            await keep(self.look, _LOOK_SECONDS, self._wake, warning=warning, logger=logger)
        finally:
            unsubscribe()

    async def look(self) -> frozenset[str]:
        """Corrects every binding. Returns the problems that remain. Raises StateError when bindings cannot be listed."""
        found = {each["metadata"]["namespace"]: each for each in await self._objects.everywhere(ROLE_BINDING, NAME)}
        wanted = {each.metadata.name for each in self._index.namespaces() if _is_open(each)}
        due = [name for name in wanted if name not in found or (_is_ours(found[name]) and not _grants(found[name]))]
        due += [name for name, binding in found.items() if name not in wanted and _is_ours(binding)]
        problems = {
            f"namespace {name}: RoleBinding {NAME} exists, is not ours and gives the proxy no access; delete it"
            for name in wanted
            if name in found and not _is_ours(found[name]) and not _grants(found[name])
        }
        for start in range(0, len(due), _AT_ONCE):
            chosen = due[start : start + _AT_ONCE]
            settled = await asyncio.gather(*(self._reconcile(name, found.get(name), wanted=name in wanted) for name in chosen))
            problems.update(problem for problem in settled if problem)
        return frozenset(problems)

    async def _reconcile(self, namespace: str, present: RawObject | None, *, wanted: bool) -> str:
        try:
            if present is not None and (not wanted or present.get("roleRef") != _GRANT["roleRef"]):  # a roleRef cannot be changed
                await self._objects.delete(ROLE_BINDING, namespace, NAME, uid=present["metadata"]["uid"])
                logger.info("the proxy's access to %s was withdrawn", namespace)
            if wanted:
                metadata = {
                    "name": NAME,
                    "namespace": namespace,
                    "labels": {MANAGED_BY_LABEL: WORKSPACE_ACCESS_MANAGER, **PART_OF},
                }
                await self._objects.apply(ROLE_BINDING, {"metadata": metadata, **_GRANT}, manager=WORKSPACE_ACCESS_MANAGER)
                logger.info("the proxy was given access to workspace %s", namespace)
        except (NotFound, Conflict) as error:
            logger.debug("namespace %s, or its binding, is being deleted: %s", namespace, error)
        except AkuaError as error:
            return f"namespace {namespace}: {error}"
        return ""

    def _changed(self, change: Change) -> None:
        before, after = (isinstance(each, Namespace) and _is_open(each) for each in (change.before, change.after))
        if before != after:
            self._wake.set()


def _is_open(namespace: Namespace) -> bool:
    """Whether the proxy may read its Secrets. Our own namespace holds keys that it must never see, whatever its labels."""
    return namespace.is_workspace and not namespace.deleting and namespace.metadata.name != SYSTEM_NAMESPACE


def _is_ours(binding: RawObject) -> bool:
    labels: Mapping[str, str] = binding["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY_LABEL) == WORKSPACE_ACCESS_MANAGER


def _grants(binding: RawObject) -> bool:
    return all(binding.get(name) == value for name, value in _GRANT.items())

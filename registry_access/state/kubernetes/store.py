"""The Kubernetes state store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any

from registry_access.model.errors import InvalidManifest, StateUnavailable
from registry_access.model.resources import Key, Kind, Resource, key_of_manifest, resource_from_manifest
from registry_access.model.resources.metadata import INSTALL_LABEL, SYSTEM_NAMESPACE
from registry_access.state.index import Change, ResourceIndex
from registry_access.state.interface import Manifest
from registry_access.state.kubernetes.access import ClusterAccess
from registry_access.state.kubernetes.api import APPLY_PATCH, FIELD_MANAGER, MERGE_PATCH, KubernetesApi
from registry_access.state.kubernetes.feed import Feed
from registry_access.state.kubernetes.proof import HeartbeatProof, ListProof
from registry_access.state.kubernetes.reflector import Observer, Reflector
from registry_access.state.kubernetes.resource_path import Scope, collection_path, object_path
from registry_access.state.manifest import own_manifest, plain

logger = logging.getLogger(__name__)
ALL_KINDS = frozenset(Kind)
# Of a workspace's Secrets, those that no credential can be in need not be held.
_SECRET_FIELDS = "type!=kubernetes.io/service-account-token,type!=helm.sh/release.v1"  # noqa: S105 - a selector
_STRICT = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
_SECRETS_PROOF_SECONDS = 2.0


class KubernetesStore:
    """Watches `kinds`. Secrets are read in workspaces and in `system_namespace` only; with `pull_secrets`, those that the install
    sync wrote are read everywhere.

    `heartbeat_seconds`: how often each watched kind is proven current. `observe` is told (scope, event) for metrics.
    """

    def __init__(
        self,
        access: ClusterAccess,
        *,
        kinds: Collection[Kind] = ALL_KINDS,
        system_namespace: str = SYSTEM_NAMESPACE,
        pull_secrets: bool = False,
        heartbeat_seconds: float = 1.0,
        on_problem: Callable[[InvalidManifest], None] | None = None,
        observe: Observer | None = None,
    ) -> None:
        self.api = KubernetesApi(access)
        self._kinds = frozenset(kinds) | ({Kind.NAMESPACE} if Kind.SECRET in kinds else set())
        self._system_namespace = system_namespace
        self._pull_secrets = pull_secrets
        self._seconds = heartbeat_seconds
        self._observe = observe
        self._replica = uuid.uuid4().hex[:12]
        self._index = ResourceIndex()
        self._feed = Feed(self._index, on_problem)
        self._reflectors: dict[Scope, Reflector] = {}
        self._tasks: dict[Scope, list[asyncio.Task[None]]] = {}
        self._heartbeats: list[HeartbeatProof] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._unsubscribe: Callable[[], None] | None = None
        self._started = False

    @property
    def index(self) -> ResourceIndex:
        return self._index

    @property
    def synced(self) -> bool:
        return self._started and all(each.synced.is_set() for each in self._counted())

    def staleness(self) -> float:
        """Of the least fresh watch. A workspace whose Secrets are not held, yet or any more, makes no other one stale."""
        ages = [each.staleness() for each in self._counted()]
        return max(ages) if self._started and ages else float("inf")

    def problems(self) -> Sequence[InvalidManifest]:
        return tuple(self._feed.problems.values())

    async def start(self, patience: float = 30.0) -> None:
        """Raises StateUnavailable, with the server's own words, when not everything has synced within `patience` seconds."""
        for kind in sorted(self._kinds - {Kind.SECRET}):
            self._add(Scope(kind), heartbeat=True)
        try:
            await self._wait_for_sync(patience)
            if Kind.SECRET in self._kinds:
                self._follow_workspaces()
                self._unsubscribe = self._index.subscribe(self._namespace_changed, {Kind.NAMESPACE})
                await self._wait_for_sync(patience)
        except StateUnavailable:
            await self.stop()
            raise
        self._started = True

    async def stop(self) -> None:
        if self._unsubscribe:
            self._unsubscribe()
        for scope in list(self._reflectors):
            await self._drop(scope, clear=False)
        await asyncio.gather(*(heartbeat.withdraw() for heartbeat in self._heartbeats))
        self._heartbeats = []
        await self.api.close()

    async def read(self, key: Key) -> Resource:
        return self._resource(await self.api.request("GET", object_path(key)), key)

    async def create(self, manifest: Manifest) -> Resource:
        wanted, key = self._wanted(manifest)
        body = await self.api.request("POST", collection_path(key.kind, key.namespace), body=wanted, query=_STRICT)
        return self._resource(body, key)

    async def apply(self, manifest: Manifest, *, manager: str) -> Resource:
        """Server-side apply with `manager` as field manager, conflicts forced."""
        wanted, key = self._wanted(manifest)
        query = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
        body = await self.api.request("PATCH", object_path(key), body=wanted, query=query, content_type=APPLY_PATCH)
        return self._resource(body, key)

    async def patch(self, key: Key, merge_patch: Manifest, *, resource_version: str | None = None) -> Resource:
        changes = own_manifest(plain(merge_patch))
        if resource_version:
            changes["metadata"] = {**changes.get("metadata", {}), "resourceVersion": resource_version}
        body = await self.api.request("PATCH", object_path(key), body=changes, query=_STRICT, content_type=MERGE_PATCH)
        return self._resource(body, key)

    async def patch_status(self, key: Key, merge_patch: Manifest, *, resource_version: str | None = None) -> Resource:
        path, body = f"{object_path(key)}/status", {"status": plain(merge_patch)}
        if resource_version:
            body["metadata"] = {"resourceVersion": resource_version}
        answer = await self.api.request("PATCH", path, body=body, query=_STRICT, content_type=MERGE_PATCH)
        return self._resource(answer, key)

    async def delete(self, key: Key, *, uid: str | None = None) -> None:
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        await self.api.request("DELETE", object_path(key), body=options)

    def _wanted(self, manifest: Manifest) -> tuple[dict[str, Any], Key]:
        """Checked before it is sent, because our complaints say more than a schema's. Raises InvalidManifest."""
        wanted = own_manifest(plain(manifest))
        resource_from_manifest(wanted)
        return wanted, key_of_manifest(wanted)

    def _resource(self, body: dict[str, Any], key: Key) -> Resource:
        resource = resource_from_manifest(body, source=str(key), strict=False)
        if resource is None:
            raise StateUnavailable(f"the API server answered with something else than {key}")
        return resource

    def _counted(self) -> list[Reflector]:
        return [each for scope, each in self._reflectors.items() if scope.kind is not Kind.SECRET or each.synced.is_set()]

    async def _wait_for_sync(self, patience: float) -> None:
        deadline = asyncio.get_running_loop().time() + patience
        while waiting := [each for each in self._reflectors.values() if self._is_awaited(each)]:
            if asyncio.get_running_loop().time() > deadline:
                raise StateUnavailable(
                    "; ".join(f"{each.scope} not read within {patience:.0f} s: {each.last_error}" for each in waiting)
                )
            await asyncio.sleep(0.01)

    def _is_awaited(self, reflector: Reflector) -> bool:
        """Not read yet, and not for want of a right to one workspace's Secrets."""
        optional = reflector.scope.kind is Kind.SECRET and reflector.scope.namespace != self._system_namespace
        return not reflector.synced.is_set() and not (optional and reflector.denied)

    def _add(self, scope: Scope, *, heartbeat: bool) -> None:
        reflector = Reflector(self.api, scope, self._feed, self._replica, self._observe)
        proof: HeartbeatProof | ListProof
        if heartbeat:
            proof = HeartbeatProof(self.api, reflector, self._system_namespace, self._replica, self._seconds)
            self._heartbeats.append(proof)
        else:
            proof = ListProof(self.api, reflector, max(self._seconds, _SECRETS_PROOF_SECONDS))
        self._reflectors[scope] = reflector
        self._tasks[scope] = [asyncio.create_task(reflector.run()), asyncio.create_task(proof.run())]

    async def _drop(self, scope: Scope, *, clear: bool) -> None:
        reflector, tasks = self._reflectors.pop(scope, None), self._tasks.pop(scope, [])
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        if clear and reflector:
            reflector.clear()

    def _follow_workspaces(self) -> None:
        """A watch of Secrets for each workspace: no right to read any others is needed."""
        wanted = {
            Scope(Kind.SECRET, namespace, field_selector=_SECRET_FIELDS)
            for namespace in {*self._index.workspaces(), self._system_namespace}
        }
        if self._pull_secrets:
            wanted.add(Scope(Kind.SECRET, label_selector=INSTALL_LABEL))
        present = {scope for scope in self._reflectors if scope.kind is Kind.SECRET}
        for scope in wanted - present:
            self._add(scope, heartbeat=False)
        for scope in present - wanted:
            leaving = asyncio.create_task(self._drop(scope, clear=True))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    def _namespace_changed(self, change: Change) -> None:
        self._follow_workspaces()

"""The Kubernetes state store."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any

from registry_access.model.errors import AlreadyExists, Conflict, InvalidManifest, NotFound, StateUnavailable
from registry_access.model.resources import Key, Kind, Resource, key_of_manifest, resource_from_manifest
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.state.event_recorder import EventWriter
from registry_access.state.index import Change, ResourceIndex
from registry_access.state.interface import HeldSecrets, Manifest
from registry_access.state.kubernetes.client.access import ClusterAccess
from registry_access.state.kubernetes.client.api import APPLY_PATCH, FIELD_MANAGER, MERGE_PATCH, KubernetesApi
from registry_access.state.kubernetes.client.resource_path import WatchScope, collection_path, object_path
from registry_access.state.kubernetes.event_writer import KubernetesEvents
from registry_access.state.kubernetes.leader_election import LeaderElection
from registry_access.state.kubernetes.watch.feed import Feed
from registry_access.state.kubernetes.watch.proof import HeartbeatProof, ListProof
from registry_access.state.kubernetes.watch.referenced_secrets import ReferencedSecrets
from registry_access.state.kubernetes.watch.reflector import Observer, Reflector
from registry_access.state.kubernetes.watch.secret_scopes import SecretScopes
from registry_access.state.leadership import Leadership
from registry_access.state.manifest import own_manifest, plain

logger = logging.getLogger(__name__)
ALL_KINDS = frozenset(Kind)
_STRICT = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
_LIST_SECONDS = (2.0, 5.0)  # between two lists that prove one scope of Secrets, at least and at most
_LISTS_A_SECOND = 4
_DENIED_RETRY_SECONDS = 2.0
_DENIED_RETRIES_A_SECOND = 50
_OPTIONAL_SHARE = 1 / 3  # of the patience at the start, for what can come later
_SHOWN = 5
_REREAD_SECONDS = 2.0  # between two readings of a workspace's Secrets for a credential that names another one
_REREAD_WAIT = 0.1


class KubernetesStore:
    """Watches `kinds`. Secrets are read in workspaces and in `system_namespace` only; with `pull_secrets`, those that the install
    sync wrote are read everywhere. `kubeconfigs_only`: of a workspace only those that its installs name as kubeconfigs, so that
    an install sync holds no credential of an upstream. `secrets_maximum`: of a workspace only those are held that credentials or
    installs name, up to so many bytes; None: all of them.

    `system_secrets`: only these Secrets of `system_namespace` are read, each by a watch of its own, so that rights by
    resourceNames are enough; None: all of them. Those in `optional_secrets` may be refused to us without holding up the start.
    `heartbeat_seconds`: how often each watched kind is proven current. `observe` is told (scope, event) for metrics.
    """

    def __init__(
        self,
        access: ClusterAccess,
        *,
        kinds: Collection[Kind] = ALL_KINDS,
        system_namespace: str = SYSTEM_NAMESPACE,
        system_secrets: Collection[str] | None = None,
        optional_secrets: Collection[str] = (),
        pull_secrets: bool = False,
        kubeconfigs_only: bool = False,
        secrets_maximum: int | None = None,
        heartbeat_seconds: float = 1.0,
        on_problem: Callable[[InvalidManifest], None] | None = None,
        observe: Observer | None = None,
    ) -> None:
        self.api: KubernetesApi = KubernetesApi(access)
        self._kinds = frozenset(kinds) | ({Kind.NAMESPACE} if Kind.SECRET in kinds else set())
        self._system_namespace = system_namespace
        self._secrets = SecretScopes(system_namespace, system_secrets, optional_secrets, pull_secrets, kubeconfigs_only)
        self._seconds = heartbeat_seconds
        self._observe = observe
        self._replica = uuid.uuid4().hex[:12]
        self._index = ResourceIndex(sees_namespaces=Kind.NAMESPACE in self._kinds)
        self._referenced: ReferencedSecrets | None = None
        if secrets_maximum is not None:
            # Pull Secrets are an install sync's, and so are kubeconfigs.
            self._referenced = ReferencedSecrets(
                self._index, system_namespace, secrets_maximum, self._reread, kubeconfigs=pull_secrets
            )
        self._reread_at: dict[str, float] = {}  # loop time from which on it may be done again
        self._rereading: dict[str, asyncio.TimerHandle] = {}
        self._feed = Feed(self._index, on_problem, self._referenced)
        self._reflectors: dict[WatchScope, Reflector] = {}
        self._tasks: dict[WatchScope, list[asyncio.Task[None]]] = {}
        self._heartbeats: list[HeartbeatProof] = []
        self._leaving: dict[WatchScope, asyncio.Task[None]] = {}
        self._unsubscribe: Callable[[], None] | None = None
        self._started = False

    @property
    def index(self) -> ResourceIndex:
        return self._index

    @property
    def synced(self) -> bool:
        return self._started and all(each.synced.is_set() for each in self._counted())

    def staleness(self) -> float:
        """Of the least fresh watch. No workspace's Secrets are among them: one must not make the others stale."""
        ages = [each.staleness() for each in self._counted()]
        return max(ages) if self._started and ages else float("inf")

    def secrets_of(self, workspace: str) -> HeldSecrets:
        reflector = self._reflectors.get(self._secrets.of_workspace(workspace))
        if reflector is None:
            return HeldSecrets(float("inf"), f"namespace {workspace} is not a workspace whose Secrets are read")
        staleness = reflector.staleness() if reflector.synced.is_set() else float("inf")
        return HeldSecrets(staleness, reflector.last_error, self._referenced.problem(workspace) if self._referenced else "")

    def unreadable_workspaces(self, limit: float) -> int:
        if self._secrets.kubeconfigs_only or Kind.SECRET not in self._kinds:
            return 0
        return sum(self.secrets_of(workspace).staleness > limit for workspace in self._index.workspaces())

    def secret_bytes(self) -> int:
        return self._referenced.bytes_held() if self._referenced else 0

    @property
    def holds_deleted(self) -> bool:
        return True

    def event_writer(self, controller: str, instance: str) -> EventWriter:
        return KubernetesEvents(self.api, controller, instance)

    def leadership(self, name: str) -> Leadership:
        return LeaderElection(self.api, self._system_namespace, name)

    def control_plane_id(self) -> str:
        """The UID of our namespace."""
        found = self._index.namespace(self._system_namespace)
        if found is None or not found.metadata.uid:
            raise StateUnavailable(f"namespace {self._system_namespace} does not exist yet")
        return found.metadata.uid

    async def refresh(self, kind: Kind) -> None:
        """Its watches bring all changes."""

    def problems(self) -> Sequence[InvalidManifest]:
        return tuple(self._feed.problems.values())

    async def start(self, patience: float = 30.0) -> None:
        """Raises StateUnavailable, with the server's own words, when not everything that is needed has synced within `patience`
        seconds. For workspaces' Secrets it waits a little: one whose Secrets do not come refuses its own pulls.
        """
        for kind in sorted(self._kinds - {Kind.SECRET}):
            self._add(WatchScope(kind), heartbeat=True)
        try:
            await self._wait_for_sync(patience)
            if Kind.SECRET in self._kinds:
                for install in self._index.installs():
                    self._secrets.installs_changed(None, install)
                self._follow_workspaces()
                self._unsubscribe = self._index.subscribe(self._changed, {Kind.NAMESPACE, Kind.INSTALL})
                await self._wait_for_sync(patience)
        except StateUnavailable:
            await self.stop()
            raise
        self._started = True

    async def stop(self) -> None:
        if self._unsubscribe:
            self._unsubscribe()
            self._unsubscribe = None
        for handle in self._rereading.values():
            handle.cancel()
        self._rereading.clear()
        for scope in list(self._reflectors):
            await self._drop(scope, clear=False)
        await asyncio.gather(*self._leaving.values())
        await asyncio.gather(*(heartbeat.withdraw() for heartbeat in self._heartbeats))
        self._heartbeats = []
        await self.api.close()

    async def read(self, key: Key) -> Resource:
        return self._resource(await self.api.request("GET", object_path(key)), key)

    async def create(self, manifest: Manifest) -> Resource:
        wanted, key = self._wanted(manifest)
        if self._secrets.is_named(key):
            return await self._create_by_name(wanted, key)
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

    async def _create_by_name(self, wanted: dict[str, Any], key: Key) -> Resource:
        """By server-side apply: the right to create by resourceNames is of no use to a POST, whose path has no name.

        Not forced and with a field manager of this process alone: of two that create at once, one meets a conflict.
        """
        with contextlib.suppress(NotFound):
            await self.read(key)
            raise AlreadyExists(f"{key} already exists")
        query = {"fieldManager": f"{FIELD_MANAGER}-{self._replica}", "fieldValidation": "Strict"}
        try:
            body = await self.api.request("PATCH", object_path(key), body=wanted, query=query, content_type=APPLY_PATCH)
        except Conflict as error:
            raise AlreadyExists(f"{key} was created by another process") from error
        return self._resource(body, key)

    def _wanted(self, manifest: Manifest) -> tuple[dict[str, Any], Key]:
        """Checked before it is sent, because our complaints say more than a schema's. Raises InvalidManifest."""
        wanted = own_manifest(plain(manifest))
        resource_from_manifest(wanted)
        return wanted, key_of_manifest(wanted)

    def _resource(self, body: dict[str, Any], key: Key) -> Resource:
        resource = resource_from_manifest(body, source=str(key), strict=False)
        if resource is None:
            raise StateUnavailable(f"the API server answered with an object other than {key}")
        return resource

    def _counted(self) -> list[Reflector]:
        return [
            each
            for scope, each in self._reflectors.items()
            if self._secrets.is_needed(scope) or (each.synced.is_set() and self._secrets.is_shared(scope))
        ]

    def _denied_wait(self) -> float:
        """Seconds; a workspace's RoleBinding is felt within 3, unless so many are missing that asking would be a burden."""
        denied = sum(each.denied for each in self._reflectors.values())
        return max(_DENIED_RETRY_SECONDS, denied / _DENIED_RETRIES_A_SECOND) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter

    async def _wait_for_sync(self, patience: float) -> None:
        began = asyncio.get_running_loop().time()
        while waiting := [each for each in self._reflectors.values() if self._is_awaited(each)]:
            waited = asyncio.get_running_loop().time() - began
            needed = [each for each in waiting if self._secrets.is_needed(each.scope)]
            if waited > patience and needed:
                raise StateUnavailable(
                    "; ".join(f"{each.scope} not read within {patience:.0f} s: {each.last_error}" for each in needed)
                )
            if waited > patience * _OPTIONAL_SHARE and not needed:
                for each in waiting[:_SHOWN]:
                    logger.warning("%s not read yet: %s; %d such scopes in all", each.scope, each.last_error, len(waiting))
                return
            await asyncio.sleep(0.01)

    def _is_awaited(self, reflector: Reflector) -> bool:
        """Not read yet, other than optional Secrets that we may not read."""
        return not reflector.synced.is_set() and (self._secrets.is_needed(reflector.scope) or not reflector.denied)

    def _add(self, scope: WatchScope, *, heartbeat: bool) -> None:
        reflector = Reflector(
            self.api,
            scope,
            self._feed,
            self._replica,
            self._observe,
            needed=self._secrets.is_needed(scope),
            denied_wait=self._denied_wait,
        )
        proof: HeartbeatProof | ListProof
        if heartbeat:
            proof = HeartbeatProof(self.api, reflector, self._system_namespace, self._replica, self._seconds)
            self._heartbeats.append(proof)
        else:
            proof = ListProof(self.api, reflector, self._list_seconds)
        self._reflectors[scope] = reflector
        self._tasks[scope] = [asyncio.create_task(reflector.run()), asyncio.create_task(proof.run())]

    def _list_seconds(self) -> float:
        """Between two lists of one scope: longer with many workspaces, and always well inside a staleness limit."""
        listed = sum(scope.kind is Kind.SECRET for scope in self._reflectors)
        return max(self._seconds, min(max(listed / _LISTS_A_SECOND, _LIST_SECONDS[0]), _LIST_SECONDS[1]))

    async def _drop(self, scope: WatchScope, *, clear: bool) -> None:
        reflector, tasks = self._reflectors.pop(scope, None), self._tasks.pop(scope, [])
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        if clear and reflector:
            reflector.clear()

    def _follow_workspaces(self) -> None:
        """A watch of Secrets for each workspace: no right to read any others is needed."""
        leaving = [each.metadata.name for each in self._index.namespaces() if each.is_workspace and each.deleting]
        wanted = self._secrets.wanted(self._index.workspaces(), leaving)
        present = {scope for scope in self._reflectors if scope.kind is Kind.SECRET}
        for scope in wanted - present - self._leaving.keys():
            # The sync's own are too many to be listed again and again, and one more of them can beat for all.
            self._add(scope, heartbeat=bool(scope.label_selector))
        for scope in present - wanted - self._leaving.keys():
            self._leaving[scope] = asyncio.create_task(self._drop(scope, clear=True))
            self._leaving[scope].add_done_callback(functools.partial(self._left, scope))

    def _left(self, scope: WatchScope, task: asyncio.Task[None]) -> None:
        """A watch is gone, and what it held; a workspace that came back meanwhile gets a new one only now."""
        del self._leaving[scope]
        if self._unsubscribe:
            self._follow_workspaces()

    def _reread(self, workspace: str) -> None:
        """Once now and then: a credential that is changed again and again must not have its workspace listed as often."""
        if workspace not in self._rereading:
            wait = max(0.0, self._reread_at.get(workspace, 0.0) - asyncio.get_running_loop().time())
            self._rereading[workspace] = asyncio.get_running_loop().call_later(wait, self._reread_now, workspace)

    def _reread_now(self, workspace: str) -> None:
        del self._rereading[workspace]
        reflector = self._reflectors.get(self._secrets.of_workspace(workspace))
        if reflector is None:
            self._reread_at.pop(workspace, None)
            return
        loop = asyncio.get_running_loop()
        if reflector.reading:  # and may have passed over what is named by now
            self._rereading[workspace] = loop.call_later(_REREAD_WAIT, self._reread_now, workspace)
            return
        self._reread_at[workspace] = loop.time() + _REREAD_SECONDS
        reflector.relist()

    def _changed(self, change: Change) -> None:
        if change.key.kind is Kind.NAMESPACE or self._secrets.installs_changed(change.before, change.after):
            self._follow_workspaces()

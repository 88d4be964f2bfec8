"""The composition root: settings in, running parts out. Nothing below here reads the environment or makes its own clients."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from cli.cluster_access import cluster_access
from cli.trail_opening import PROXY_PATIENCE, is_remote, open_trail
from proxy.app import TOKEN_PATH, create_proxy_app
from proxy.authentication import Authenticator, TokenKeys
from proxy.oci_errors import Challenger
from proxy.open_streams import OpenStreams
from proxy.parts import ProxyParts
from proxy.pull_events import PullEvents
from proxy.upstream.settings import UpstreamSettings
from proxy.upstream.upstreams import Upstreams
from proxy.usage_report import UsageReport
from registry_access.audit.observed import ObservedTrail
from registry_access.audit.trail import sql_trail
from registry_access.model.errors import InvalidManifest
from registry_access.model.resources import Kind, Secret
from registry_access.model.signing_key import VerificationKeys
from registry_access.runtime.health import Health
from registry_access.runtime.redaction import Redactor
from registry_access.runtime.settings import Settings
from registry_access.runtime.telemetry import Telemetry
from registry_access.state.event_recorder import EventRecorder, EventWriter, LogEvents
from registry_access.state.index import Change, ResourceIndex
from registry_access.state.interface import StateStore
from registry_access.state.signing_keys import ACCESS_TOKEN_KEYS, KeyRing, PublishedKeys, ensure_keys
from webhook.install_sync.ownership import owner_of

logger = logging.getLogger(__name__)


# All that decides about a pull, and all that the proxy may read of a cluster.
DECIDING = frozenset({Kind.NAMESPACE, Kind.SECRET, Kind.REGISTRY_CREDENTIAL, Kind.PRODUCT, Kind.INSTALL})


@dataclass(frozen=True, slots=True)
class SystemSecrets:
    """Names of Secrets in our own namespace: those without which a process cannot serve, and others."""

    needed: frozenset[str]
    optional: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        return self.needed | self.optional


async def open_store(
    settings: Settings,
    *,
    environment: Mapping[str, str] | None = None,
    kinds: Collection[Kind] = frozenset(Kind),
    system_secrets: SystemSecrets | None = None,
    kubeconfigs_only: bool = False,
) -> StateStore:
    """The state store that `settings.state` names, for a process: watched, not yet started. `kinds` are what a cluster is asked
    for.

    `system_secrets` are those of our own namespace that the process reads; None: all. `kubeconfigs_only`: see KubernetesStore.

    Inside a pod the cluster is its own, elsewhere the kubeconfig's. Raises StateUnavailable.
    """
    # Each adapter's libraries are half of what a command needs to start, and memory that the other one has no use for.
    if not settings.in_cluster:
        return _directory_store(settings, watch=True)
    from registry_access.state.kubernetes.store import KubernetesStore

    return KubernetesStore(
        await cluster_access(environment),
        kinds=kinds,
        system_secrets=system_secrets.names if system_secrets else None,
        optional_secrets=system_secrets.optional if system_secrets else (),
        pull_secrets=Kind.PULL_GRANT in kinds,
        kubeconfigs_only=kubeconfigs_only,
        on_problem=_log_problem,
    )


async def open_snapshot(
    settings: Settings, *, kinds: Collection[Kind], workspace: str = "", provisioned: bool = False
) -> StateStore:
    """The same for a command: read once, of a cluster only what is asked for (see SnapshotStore). Raises StateUnavailable."""
    if not settings.in_cluster:
        return _directory_store(settings, watch=False)
    from registry_access.state.kubernetes.snapshot_store import SnapshotStore

    access = await cluster_access()
    return SnapshotStore(access, kinds=kinds, workspace=workspace, provisioned=provisioned, on_problem=_log_problem)


def _directory_store(settings: Settings, *, watch: bool) -> StateStore:
    from registry_access.state.directory.store import DirectoryStore

    return DirectoryStore(Path(settings.state.partition(":")[2]), watch=watch, on_problem=_log_problem)


def _log_problem(problem: InvalidManifest) -> None:
    logger.warning("a manifest cannot be used, what it last said is served: %s", problem)


def redact_secrets(index: ResourceIndex, redactor: Redactor) -> None:
    """Teaches the log every secret value that the index holds, now and later.

    But for pull Secrets: what is in them is known by its looks (a signed token), and every line would be searched for thousands.
    """

    def learn(secret: Secret) -> None:
        if owner_of(secret) is not None:
            return
        redactor.add(value.decode() for value in secret.data.values() if value.isascii())

    def changed(change: Change) -> None:
        if isinstance(change.after, Secret):
            learn(change.after)

    for secret in index.secrets():
        learn(secret)
    index.subscribe(changed, {Kind.SECRET})


class _Keys:
    """The keys that the proxy verifies with; the same object as long as nothing was rotated."""

    def __init__(self, published: PublishedKeys, ring: KeyRing) -> None:
        self._published = published
        self._ring = ring
        self._current: TokenKeys | None = None
        self._made_of: tuple[VerificationKeys, object] | None = None

    def __call__(self) -> TokenKeys:
        made_of = (self._published.keys(), self._ring.keys())
        if self._current is None or self._made_of is None or any(a is not b for a, b in zip(made_of, self._made_of, strict=True)):
            self._current, self._made_of = TokenKeys(made_of[0], made_of[1].verification()), made_of
        return self._current


@dataclass(slots=True)
class Proxy:
    """The proxy's parts, running, and its application."""

    app: ASGIApp
    parts: ProxyParts
    usage: UsageReport
    events: EventRecorder

    async def stop(self) -> None:
        """Ends streams' watch, upstream connections, and flushes the audit trail last."""
        await self.parts.streams.stop()
        await self.parts.upstreams.close()
        await self.usage.stop()
        await self.events.stop()
        await self.parts.trail.stop()


async def start_proxy(
    settings: Settings, store: StateStore, telemetry: Telemetry, health: Health, *, overrides: dict[str, str] | None = None
) -> Proxy:
    """Opens audit trail and upstreams and builds the application. Raises AuditUnavailable, StateError, InvalidInput."""
    index = store.index
    usage = UsageReport(store)
    events = event_recorder(settings, store, telemetry, "akua-proxy")
    told = PullEvents(index, events)
    trail = ObservedTrail(sql_trail(settings.audit_dsn, writer=settings.audit_writer), usage.observe, told.observe)
    await open_trail(trail, PROXY_PATIENCE if is_remote(settings.audit_dsn) else 0)
    usage.start()
    events.start()
    await ensure_keys(store, ACCESS_TOKEN_KEYS)
    access = KeyRing(index, ACCESS_TOKEN_KEYS, time.time)
    upstreams = Upstreams(upstream_settings(settings), telemetry, overrides=overrides)
    await upstreams.start()
    streams = OpenStreams(index, telemetry)
    streams.start()
    parts = ProxyParts(
        host=settings.host,
        index=index,
        staleness=store.staleness,
        staleness_limit=settings.staleness_limit,
        authenticator=Authenticator(_Keys(PublishedKeys(index), access), settings.host, time.time),
        challenger=Challenger(settings.realm_url + TOKEN_PATH, settings.host),
        access_key=access.active,
        access_token_lifetime=settings.access_token_lifetime,
        trail=trail,
        upstreams=upstreams,
        streams=streams,
        telemetry=telemetry,
        clock=time.time,
    )
    index.subscribe(lambda change: _forget(upstreams, change), {Kind.REGISTRY_CREDENTIAL})
    health.add("state", lambda: "" if store.synced else "the state has not been read yet")
    health.add("freshness", lambda: _freshness_problem(store, settings))
    return Proxy(create_proxy_app(parts), parts, usage, events)


def event_recorder(settings: Settings, store: StateStore, telemetry: Telemetry, controller: str) -> EventRecorder:
    """What tells people of what happened to their objects; `controller` is the part of us that tells."""
    return EventRecorder(_event_writer(settings, store, controller), lambda result: telemetry.events.labels(result).inc())


def _event_writer(settings: Settings, store: StateStore, controller: str) -> EventWriter:
    if settings.state != "kubernetes":
        return LogEvents()
    from registry_access.state.kubernetes.event_writer import KubernetesEvents
    from registry_access.state.kubernetes.store import KubernetesStore

    return KubernetesEvents(store.api, controller, settings.audit_writer) if isinstance(store, KubernetesStore) else LogEvents()


def upstream_settings(settings: Settings) -> UpstreamSettings:
    return UpstreamSettings(
        connect_seconds=settings.upstream_connect,
        headers_seconds=settings.upstream_headers,
        idle_seconds=settings.upstream_idle,
        allowed_networks=settings.upstream_allowed_networks,
        ca_file=settings.upstream_ca_file,
        identity_workspaces=settings.upstream_identity_workspaces,
    )


def _forget(upstreams: Upstreams, change: Change) -> None:
    """A credential that was changed or deleted; its status, which a pull itself changes, is no change."""
    before, after = change.before, change.after
    if before is not None and (after is None or after.metadata.generation != before.metadata.generation):
        upstreams.forget(before.metadata.uid)


def _freshness_problem(store: StateStore, settings: Settings) -> str:
    age = store.staleness()
    return "" if age <= settings.staleness_limit else f"the state was last proven current {age:.0f} s ago"

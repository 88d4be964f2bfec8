"""The proxy, put together: from settings and a state store to a running application."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from starlette.types import ASGIApp

from proxy.app import TOKEN_PATH, create_proxy_app
from proxy.gates.authentication import Authenticator, TokenKeys
from proxy.gates.pull_rate import PullLimits
from proxy.metrics import ProxyMetrics
from proxy.oci_errors import Challenger
from proxy.pull.open_streams import OpenStreams
from proxy.reporting.condition_report import ConditionReport
from proxy.reporting.pull_events import PullEvents
from proxy.reporting.refusals import INSTALLS, STRANGERS
from proxy.reporting.usage_report import UsageReport
from proxy.services import ProxyServices
from proxy.upstream.settings import UpstreamSettings
from proxy.upstream.upstreams import Upstreams
from registry_access.audit.observed import ObservedTrail
from registry_access.audit.opening import PROXY_PATIENCE, is_remote, open_trail
from registry_access.audit.trail import chain_name, sql_trail
from registry_access.model.cluster_words import in_cluster_words
from registry_access.model.resources import Kind
from registry_access.model.signing_key import VerificationKeys
from registry_access.runtime.health import Health
from registry_access.runtime.http.forwarded import ForwardedClients
from registry_access.settings import Settings
from registry_access.state.event_recorder import EventRecorder
from registry_access.state.events import event_recorder
from registry_access.state.index import Change
from registry_access.state.interface import StateStore
from registry_access.state.signing_keys import ACCESS_TOKEN_KEYS, KeyRing, PublishedKeys, ensure_keys

# Everything that decides about a pull, and everything that the proxy may read of a cluster.
PROXY_KINDS = frozenset({Kind.NAMESPACE, Kind.SECRET, Kind.REGISTRY_CREDENTIAL, Kind.PRODUCT, Kind.INSTALL})


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
    services: ProxyServices
    usage: UsageReport
    conditions: ConditionReport
    events: EventRecorder

    async def stop(self) -> None:
        """Ends streams' watch, upstream connections, and flushes the audit trail last."""
        await self.services.streams.stop()
        await self.services.upstreams.close()
        await self.usage.stop()
        await self.conditions.stop()
        await self.events.stop()
        await self.services.refusals.repeats.stop()
        await self.services.trail.stop()


async def start_proxy(
    settings: Settings, store: StateStore, telemetry: ProxyMetrics, health: Health, *, overrides: dict[str, str] | None = None
) -> Proxy:
    """Opens audit trail and upstreams and builds the application. Raises AuditUnavailable, StateError, InvalidInput."""
    index = store.index
    usage = UsageReport(store)
    events = event_recorder(settings, store, telemetry, "akua-proxy")
    pull_events = PullEvents(index, events, in_cluster=settings.in_cluster)
    own = sql_trail(
        settings.audit_dsn,
        writer=chain_name(settings.audit_writer),
        owner_dsn=settings.audit_owner_dsn,
        capacity=settings.audit_capacity,
    )
    words = in_cluster_words if settings.in_cluster else _as_it_is
    conditions = ConditionReport(store, events, words=words, staleness_limit=settings.staleness_limit)
    trail = ObservedTrail(own, usage.observe, pull_events.observe, conditions.observe)
    await open_trail(trail, PROXY_PATIENCE if is_remote(settings.audit_dsn) else 0)
    usage.start()
    conditions.start()
    events.start()
    await ensure_keys(store, ACCESS_TOKEN_KEYS)
    access = KeyRing(index, ACCESS_TOKEN_KEYS, time.time)
    upstreams = Upstreams(upstream_settings(settings), telemetry, overrides=overrides)
    await upstreams.start()
    streams = OpenStreams(index, telemetry)
    streams.start()
    parts = ProxyServices(
        host=settings.host,
        index=index,
        staleness=store.staleness,
        staleness_limit=settings.staleness_limit,
        secrets=store.secrets_of,
        authenticator=Authenticator(_Keys(PublishedKeys(index), access), settings.host, time.time),
        challenger=Challenger(settings.realm_url + TOKEN_PATH, settings.host),
        access_key=access.active,
        access_token_lifetime=settings.access_token_lifetime,
        trail=trail,
        upstreams=upstreams,
        streams=streams,
        telemetry=telemetry,
        clock=time.time,
        refused_installs=replace(INSTALLS, per_second=settings.audit_install_rate),
        refused_strangers=replace(STRANGERS, per_second=settings.audit_stranger_rate),
        pull_limits=PullLimits(
            settings.pull_install_rate, settings.pull_workspace_rate, settings.pull_install_day, settings.pull_workspace_day
        ),
    )
    parts.refusals.repeats.start()
    index.subscribe(lambda change: _forget(upstreams, change), {Kind.REGISTRY_CREDENTIAL})
    health.add("state", lambda: "" if store.synced else "the state has not been read yet")
    health.add("audit", trail.problem)
    health.add("freshness", lambda: _freshness_problem(store, settings))
    return Proxy(ForwardedClients(create_proxy_app(parts), settings.trusted_proxies), parts, usage, conditions, events)


def upstream_settings(settings: Settings) -> UpstreamSettings:
    return UpstreamSettings(
        connect_seconds=settings.upstream_connect,
        headers_seconds=settings.upstream_headers,
        idle_seconds=settings.upstream_idle,
        login_seconds=settings.upstream_login,
        circuit_failures=settings.upstream_circuit_failures,
        circuit_seconds=settings.upstream_circuit_time,
        allowed_networks=settings.upstream_allowed_networks,
        private_registries=settings.permitted_private_registries,
        own_ports=(settings.proxy_address.port, settings.webhook_address.port, settings.operations_address.port),
        ca_file=settings.upstream_ca_file,
        identity_workspaces=settings.upstream_identity_workspaces,
    )


def _as_it_is(message: str, _workspace: str) -> str:
    return message


def _forget(upstreams: Upstreams, change: Change) -> None:
    """A credential that was changed or deleted; its status, which a pull itself changes, is no change."""
    before, after = change.before, change.after
    if before is not None and (after is None or after.metadata.generation != before.metadata.generation):
        upstreams.forget(before.metadata.uid)


def _freshness_problem(store: StateStore, settings: Settings) -> str:
    age = store.staleness()
    return "" if age <= settings.staleness_limit else f"the state was last proven current {age:.0f} s ago"

"""A serving process: it opens ports, then state, then the requested parts, then accepts traffic, and shuts down in reverse."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from programs.local_authority import WEBHOOK_NAMES, LocalAuthority
from programs.redacted_secrets import ordinary_words, redact_secrets
from programs.secret_certificate import SecretCertificate
from programs.telemetry import Telemetry
from proxy.assembly import PROXY_KINDS, Proxy, start_proxy
from registry_access.audit.interface import AuditTrail
from registry_access.audit.trail import chain_name, sql_trail
from registry_access.model.certificate_names import PROXY_CERTIFICATE, WEBHOOK_CERTIFICATE
from registry_access.model.errors import AuditUnavailable
from registry_access.model.resources import Kind
from registry_access.runtime.connections.descriptors import affordable, raise_limit
from registry_access.runtime.connections.limits import Limits
from registry_access.runtime.health import Health
from registry_access.runtime.logs.redaction import Redactor
from registry_access.runtime.operations import create_operations_app
from registry_access.runtime.serving import OPERATIONS, Listener, Servers
from registry_access.runtime.tls.served_certificate import TlsFiles
from registry_access.settings import Settings
from registry_access.state.interface import StateStore
from registry_access.state.key_care import KeyCare
from registry_access.state.opening import SystemSecrets, open_store
from registry_access.state.signing_keys import ACCESS_TOKEN_KEYS, INSTALL_TOKEN_JWKS, INSTALL_TOKEN_KEYS
from webhook.admission.api_servers import ApiServers
from webhook.admission.app import WebhookApp
from webhook.admission.audit import NAMESPACES, AdmissionAudit
from webhook.assembly import InstallSyncParts, build_install_sync
from webhook.leader_chores import kept_secrets, steadily

logger = logging.getLogger(__name__)
PROXY, WEBHOOK = "proxy", "webhook"
_CERTIFICATE_SECRETS = {PROXY: PROXY_CERTIFICATE, WEBHOOK: WEBHOOK_CERTIFICATE}
_BODY_MAXIMUM = 128 * 1024  # of a request to the proxy: a token endpoint's form has 64 KiB at most, and says so itself
# It has few clients and they share an address: a newcomer displaces the oldest connection.
_OPERATIONS_LIMITS = Limits(idle=30.0, stall=30.0, body_maximum=1024, connections=64, per_address=0)
_RENEWAL_SECONDS = 3600.0
_AUDIT_RETRY_SECONDS = 5.0
_WEBHOOK_LINGER = 2.0  # seconds without a review: every API server has moved to another replica
_WEBHOOK_KINDS = frozenset({Kind.NAMESPACE, Kind.SECRET, Kind.PRODUCT, Kind.INSTALL, Kind.PULL_GRANT})


class DeferredApp:
    """An application whose port is bound before it is built."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@dataclass(slots=True)
class Process:
    """`home` is the folder for certificates that we create. `store`, `proxy_parts` and `sync` are set once it is running."""

    settings: Settings
    home: Path
    proxy: bool = True
    webhook: bool = True
    overrides: dict[str, str] | None = None
    telemetry: Telemetry = field(default_factory=Telemetry)
    health: Health = field(default_factory=Health)
    redactor: Redactor = field(default_factory=lambda: Redactor(ordinary_words()))
    store: StateStore | None = None
    proxy_parts: Proxy | None = None
    sync: InstallSyncParts | None = None
    servers: Servers | None = None
    certificates: dict[str, SecretCertificate] = field(default_factory=dict)

    @property
    def authority(self) -> LocalAuthority:
        """The CA of the certificates that we create."""
        return LocalAuthority(self.home / "tls")

    def stop(self) -> None:
        """Begins the shutdown."""
        if self.servers:
            self.servers.stop()

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Serves until SIGTERM, SIGINT or `stop`. Raises InvalidSettings, InvalidInput, StateError, AuditError before that."""
        proxy = DeferredApp()
        webhook = WebhookApp(
            None, self.telemetry, api_servers=self._api_servers(), held_maximum=self.settings.admission_held_bytes
        )
        # Ports first: report one that is in use before creating a key or opening a database.
        self.servers = Servers(
            self._listeners(proxy, webhook),
            telemetry=self.telemetry,
            health=self.health,
            drain=self.settings.drain,
            trusted=self.settings.trusted_proxies,
        )
        async with AsyncExitStack() as stack:
            store = self.store = await open_store(
                self.settings,
                kinds=self._kinds(),
                system_secrets=self._system_secrets(),
                kubeconfigs_only=not self.proxy,  # a webhook on its own holds no upstream credential
            )
            stack.push_async_callback(store.stop)
            await store.start()
            redact_secrets(store.index, self.redactor)
            for certificate in self.certificates.values():
                stack.callback(certificate.follow(store.index, self.servers.reload_certificate))
            self.health.add("certificate", self._certificate_problem)
            self.health.add_concern("certificate", self._certificate_concern)
            self.health.add_fact("certificates", self.servers.certificates)
            self.health.add("state", lambda: "" if store.synced else "the state has not been read yet")
            if self.proxy:
                self.proxy_parts = await start_proxy(self.settings, store, self.telemetry, self.health, overrides=self.overrides)
                stack.push_async_callback(self.proxy_parts.stop)
                care = KeyCare(store, ACCESS_TOKEN_KEYS, self.settings.access_token_lifetime, time.time)
                stack.push_async_callback(_cancel, asyncio.create_task(steadily("key care", care.run), name="key care"))
                proxy.app = self.proxy_parts.app
            if self.webhook:
                self.sync = await build_install_sync(self.settings, store, self.telemetry)
                webhook.observer = await self._admission_audit(stack)
                webhook.grants = store.index
                stack.push_async_callback(self.sync.close)
                stack.push_async_callback(_cancel, asyncio.create_task(self.sync.run(), name="install sync"))
            if self._own_certificate:
                stack.push_async_callback(_cancel, asyncio.create_task(self._renew(), name="certificate renewal"))
            await self.servers.run(lambda: self._started(started))

    async def _admission_audit(self, stack: AsyncExitStack) -> AdmissionAudit | None:
        """Records to the proxy's trail, or to one shared over the network; a standalone webhook writes no file."""
        trail: AuditTrail
        if self.proxy_parts:
            trail = self.proxy_parts.services.trail
        elif self.settings.audit_dsn.startswith("postgres"):
            # The proxy, which cannot run without them, creates the tables: Alembic would stay in the memory of every webhook.
            trail = sql_trail(self.settings.audit_dsn, writer=chain_name(self.settings.audit_writer), migrates=False)
            stack.push_async_callback(trail.stop)
            try:
                await trail.start()
            except AuditUnavailable as error:
                logger.warning("pods are admitted, and recorded once the audit trail can be opened: %s", error)
                stack.push_async_callback(_cancel, asyncio.create_task(_opened(trail), name="opening of the audit trail"))
        else:
            return None
        observer = AdmissionAudit(trail, self.telemetry, replace(NAMESPACES, per_second=self.settings.audit_admission_rate))
        stack.push_async_callback(_cancel, asyncio.create_task(observer.run(), name="admission audit"))
        return observer

    def address(self, name: str) -> str:
        """host:port of a listener, as it was bound."""
        if self.servers is None:
            raise RuntimeError("the process is not running")
        host = {PROXY: self.settings.proxy_address, WEBHOOK: self.settings.webhook_address}.get(
            name, self.settings.operations_address
        ).host
        return f"{f'[{host}]' if ':' in host else host}:{self.servers.port(name)}"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, wanted in ((PROXY, self.proxy), (WEBHOOK, self.webhook), (OPERATIONS, True)) if wanted)

    @property
    def _own_certificate(self) -> bool:
        return self.webhook and not self.settings.webhook_tls_certificate and not self.settings.in_cluster

    def _kinds(self) -> frozenset[Kind]:
        return (PROXY_KINDS if self.proxy else frozenset()) | (_WEBHOOK_KINDS if self.webhook else frozenset())

    def _system_secrets(self) -> SystemSecrets:
        """By name, so that RBAC can give each program just these."""
        needed = {INSTALL_TOKEN_JWKS}
        optional = {name for server, name in _CERTIFICATE_SECRETS.items() if server in self.certificates}
        if self.proxy:
            needed.add(ACCESS_TOKEN_KEYS)
        if self.webhook:
            needed.add(INSTALL_TOKEN_KEYS)
            optional |= kept_secrets(self.settings)
        return SystemSecrets(frozenset(needed), frozenset(optional))

    def _listeners(self, proxy: DeferredApp, webhook: WebhookApp) -> list[Listener]:
        settings = self.settings
        limits = self._limits()
        operations = create_operations_app(self.health, self.telemetry, self._refresh)
        listeners = [Listener(OPERATIONS, operations, settings.operations_address, limits=_OPERATIONS_LIMITS)]
        if self.proxy:
            tls = self._tls(PROXY, settings.proxy_tls_certificate, settings.proxy_tls_key)
            listeners.append(Listener(PROXY, proxy, settings.proxy_address, tls, limits))
        if self.webhook:
            tls = self._tls(WEBHOOK, settings.webhook_tls_certificate, settings.webhook_tls_key) or self._issue()
            if settings.webhook_client_ca_file:
                tls = replace(tls, client_ca=Path(settings.webhook_client_ca_file))
            linger = _WEBHOOK_LINGER if settings.in_cluster else 0.0
            listeners.append(Listener(WEBHOOK, webhook, settings.webhook_address, tls, limits, linger))
        return listeners

    def _api_servers(self) -> ApiServers | None:
        settings = self.settings
        if not self.webhook or not (settings.webhook_client_ca_file or settings.webhook_token_file):
            return None
        servers = ApiServers(
            certificates=bool(settings.webhook_client_ca_file),
            names=settings.webhook_client_names,
            token_file=Path(settings.webhook_token_file) if settings.webhook_token_file else None,
            refuses=settings.webhook_unverified == "refuse",
        )
        servers.check()
        return servers

    def _limits(self) -> Limits:
        settings = self.settings
        each = 2 * self.proxy + self.webhook  # descriptors: a pull also holds a connection to its upstream
        return Limits(
            head=settings.header_deadline,
            body=settings.body_deadline,
            idle=settings.idle_deadline,
            stall=settings.stall_deadline,
            body_maximum=_BODY_MAXIMUM,
            connections=affordable(settings.connections, each, raise_limit()),
            per_address=settings.connections_per_address,
            per_client=settings.connections_per_install,
        )

    def _tls(self, server: str, certificate: str, key: str) -> TlsFiles | None:
        """The configured files or, in a cluster, those that the Secret is written to."""
        if certificate:
            return TlsFiles(Path(certificate), Path(key))
        if not self.settings.in_cluster or (server == PROXY and not self.settings.proxy_tls):
            return None
        self.certificates[server] = SecretCertificate(server, _CERTIFICATE_SECRETS[server], self.home / "tls")
        return self.certificates[server].files

    def _certificate_problem(self) -> str:
        return "; ".join(problem for each in self.certificates.values() if (problem := each.problem()))

    def _certificate_concern(self) -> str:
        return "; ".join(concern for each in self.certificates.values() if (concern := each.concern()))

    def _issue(self) -> TlsFiles:
        host = self.settings.webhook_address.host
        return self.authority.issue(WEBHOOK, tuple(dict.fromkeys((*WEBHOOK_NAMES, *([host] if host != "0.0.0.0" else [])))))  # noqa: S104

    async def _renew(self) -> None:
        """The server reloads new files by itself."""
        while True:
            await asyncio.sleep(_RENEWAL_SECONDS)
            await asyncio.to_thread(self._issue)

    def _refresh(self) -> None:
        """Updates gauges before they are read."""
        if self.store:
            self.telemetry.state_staleness.set(self.store.staleness())
            self.telemetry.state_problems.set(len(self.store.problems()))
            self.telemetry.secret_bytes.set(self.store.secret_bytes())
            self.telemetry.workspaces_unreadable.set(self.store.unreadable_workspaces(self.settings.staleness_limit))
        if self.proxy_parts:
            trail = self.proxy_parts.services.trail
            self.telemetry.audit_lag.set(trail.lag())
            if (room := trail.room()) is not None:
                self.telemetry.audit_room(room.size, room.free, room.days_left)
            self.telemetry.credential_expiry.clear()
            for credential in self.proxy_parts.services.index.all_credentials():
                if credential.expires_at is not None and not credential.disabled:
                    labels = (credential.workspace, credential.metadata.name)
                    self.telemetry.credential_expiry.labels(*labels).set(credential.expires_at.timestamp())

    def _started(self, started: Callable[[], None]) -> None:
        logger.info("serving", extra={name: self.address(name) for name in self.names})
        started()


async def _opened(trail: AuditTrail) -> None:
    """An unavailable database does not block pods when a webhook starts: opening it is retried until it succeeds."""
    while True:
        await asyncio.sleep(_AUDIT_RETRY_SECONDS)
        with suppress(AuditUnavailable):
            await trail.start()
            logger.info("the audit trail is open: admissions are recorded")
            return


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

"""Several servers in one event loop: ports bound before anything starts, TLS reloaded live, streams drained on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import uvicorn

from registry_access.model.errors import InvalidInput, InvalidSettings
from registry_access.runtime.connections.acceptor import Acceptor
from registry_access.runtime.connections.gate import Gate, Network, Slot
from registry_access.runtime.connections.limits import Limits
from registry_access.runtime.failure import why
from registry_access.runtime.health import Health
from registry_access.runtime.http.address import Address
from registry_access.runtime.http.guarded_protocol import GuardedProtocol, guarded
from registry_access.runtime.http.immediate_protocol import ImmediateApp, immediate
from registry_access.runtime.metrics import ProcessMetrics
from registry_access.runtime.tls.served_certificate import ServedCertificate, TlsFiles

logger = logging.getLogger(__name__)
OPERATIONS = "operations"
_RELOAD_SECONDS = 2.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Listener:
    """One application on one address: ASGI, or an ImmediateApp.

    `linger`: for clients that lose what they send to a connection as it is closed. On a stop the listener goes on accepting and
    answering, each answer being its connection's last, until nothing has come for `linger` seconds; the drain bounds that.
    """

    name: str
    app: Any
    address: Address
    tls: TlsFiles | None = None
    limits: Limits = field(default_factory=Limits)
    linger: float = 0.0


class _Server(uvicorn.Server):
    """uvicorn with connections accepted past a gate, and without its own signal handlers: the process has one set for all."""

    def __init__(self, config: uvicorn.Config, gate: Gate, linger: float, drain: float) -> None:
        super().__init__(config)
        self._gate = gate
        self._linger = linger
        self._drain = drain
        self._leaving = False
        self._made = 0  # connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        self.servers = [Acceptor(sock, self._gate, self._protocol, self.config.ssl) for sock in sockets or ()]  # type: ignore[misc]
        self.started = True

    def _protocol(self, slot: Slot) -> GuardedProtocol:
        make: Any = self.config.http_protocol_class
        protocol: GuardedProtocol = make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        protocol.slot = slot
        self._made += 1
        if self._leaving:
            protocol.leave()
        return protocol

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        deadline = time.monotonic() + self._drain
        if self._linger:
            await self._quieten(deadline)
        # A request that came at the end is still answered.
        self.config.timeout_graceful_shutdown = ceil(max(deadline - time.monotonic(), 1.0 if self._linger else 0.0))
        await super().shutdown(sockets)

    async def _quieten(self, deadline: float) -> None:
        """Clients move to another replica with their next request. Returns when they have, or at the deadline.

        To close a connection between two requests is to race with the next one: the client has sent it, cannot know whether it
        was processed, and does not repeat a POST (RFC 9112 section 9.3.1). An API server admits the pod as written then.
        """
        self._leaving = True
        for connection in list(self.server_state.connections):
            connection.leave()  # type: ignore[union-attr]  # a GuardedProtocol
        seen, quiet_since = (-1, -1), 0.0
        while (now := time.monotonic()) < deadline:
            activity = (self._made, self.server_state.total_requests)
            if activity != seen:
                seen, quiet_since = activity, now
            elif now - quiet_since >= self._linger:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Servers:
    """Binds in the constructor, so that ports that are taken are reported before anything starts. Raises InvalidSettings.

    The listener "operations" is stopped last: while streams drain, /readyz still answers, and says so. `trusted` are the networks
    of load balancers whose forwarding headers count.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        *,
        telemetry: ProcessMetrics,
        health: Health,
        drain: float = 30.0,
        trusted: Sequence[Network] = (),
    ) -> None:
        self._telemetry = telemetry
        self._health = health
        self._drain = drain
        self._trusted = trusted
        self._stop = asyncio.Event()
        self._bound = _bind_all(listeners)
        self._certificates: dict[str, ServedCertificate] = {}
        self._servers = [(listener, self._server(listener), sock) for listener, sock in self._bound]

    def certificates(self) -> Mapping[str, str]:
        """The SHA-256 fingerprint of what each TLS listener presents."""
        return {name: certificate.fingerprint for name, certificate in self._certificates.items()}

    def port(self, name: str) -> int:
        """The port that the listener `name` got."""
        return next(int(sock.getsockname()[1]) for listener, sock in self._bound if listener.name == name)

    def reload_certificate(self, name: str) -> None:
        """Takes up the files of the listener `name` now, instead of within 2 s."""
        certificate = self._certificates.get(name)
        if certificate is None:
            return
        try:
            if not certificate.refresh():
                return
        except (OSError, ssl.SSLError, ValueError) as error:
            # Certificate and key are often replaced one after the other: the next look finds both.
            logger.warning("the %s certificate cannot be loaded; the old one is still served: %s", name, error)
            return
        logger.info("the %s certificate was reloaded", name)
        self._telemetry.certificate_expiry.labels(name).set(certificate.expiry.timestamp())

    def stop(self) -> None:
        """Begins the shutdown: not ready, drain, return from `run`."""
        self._stop.set()

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Serves until `stop`, SIGTERM or SIGINT; returns when every stream has ended or `drain` seconds are over."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self._stop.set)
        tasks = [asyncio.create_task(server.serve([sock]), name=listener.name) for listener, server, sock in self._servers]
        watcher = asyncio.create_task(self._reload_certificates())
        # uvicorn has no event for it.
        while not all(  # noqa: ASYNC110
            server.started or task.done() for (_, server, _), task in zip(self._servers, tasks, strict=True)
        ):
            await asyncio.sleep(0.01)
        started()
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        self._health.stop()
        logger.info("stopping: no new work, streams have %g s to end", self._drain)
        for operations in (False, True):
            ending = [
                (server, task)
                for (listener, server, _), task in zip(self._servers, tasks, strict=True)
                if (listener.name == OPERATIONS) is operations
            ]
            for server, _ in ending:
                server.should_exit = True
            await asyncio.gather(*(task for _, task in ending), return_exceptions=True)
        for task in (watcher, stopping):
            task.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(number)

    def _server(self, listener: Listener) -> _Server:
        at_once = isinstance(listener.app, ImmediateApp)
        config = uvicorn.Config(
            listener.app,
            http=immediate(listener.limits, listener.app) if at_once else guarded(listener.limits),
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=listener.limits.idle,  # type: ignore[arg-type]  # handed to call_later as it is
        )
        config.load()
        if listener.tls:
            config.ssl = self._certificate(listener.name, listener.tls).listening
        gate = Gate(listener.limits, _Measured(self._telemetry, listener.name), self._trusted)
        return _Server(config, gate, listener.linger, self._drain)

    def _certificate(self, name: str, files: TlsFiles) -> ServedCertificate:
        try:
            certificate = self._certificates[name] = ServedCertificate(files)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise InvalidInput(
                f"cannot be used for TLS: {error}",
                field=f"{name} certificate",
                remedy="give a PEM certificate chain and its key",
            ) from error
        self._telemetry.certificate_expiry.labels(name).set(certificate.expiry.timestamp())
        return certificate

    async def _reload_certificates(self) -> None:
        """New handshakes get the new certificate; connections that stand keep theirs."""
        while True:
            for listener, _, _ in self._servers:
                self.reload_certificate(listener.name)
            await asyncio.sleep(_RELOAD_SECONDS)


class _Measured:
    """What a gate counts, as metrics of one listener."""

    def __init__(self, telemetry: ProcessMetrics, server: str) -> None:
        self._strangers = telemetry.connections.labels(server, "stranger")
        self._known = telemetry.connections.labels(server, "known")
        self._ended = telemetry.connections_ended
        self._server = server

    def connections(self, strangers: int, known: int) -> None:
        self._strangers.set(strangers)
        self._known.set(known)

    def ended(self, reason: str) -> None:
        self._ended.labels(self._server, reason).inc()


def _bind_all(listeners: Sequence[Listener]) -> list[tuple[Listener, socket.socket]]:
    bound: list[tuple[Listener, socket.socket]] = []
    problems: list[InvalidInput] = []
    for listener in listeners:
        try:
            bound.append((listener, _bind(listener)))
        except InvalidInput as problem:
            problems.append(problem)
    if problems:
        for _, sock in bound:
            sock.close()
        raise InvalidSettings(tuple(problems))
    return bound


def _bind(listener: Listener) -> socket.socket:
    family = socket.AF_INET6 if ":" in listener.address.host else socket.AF_INET
    try:
        return socket.create_server((listener.address.host, listener.address.port), family=family, backlog=2048)
    except OSError as error:
        raise InvalidInput(
            f"{listener.address} cannot be listened on: {why(error)}",
            field=f"{listener.name} address",
            remedy=f"stop what uses it, or set AKUA_{listener.name.upper()}_ADDRESS to another (port 0: any free one)",
        ) from error

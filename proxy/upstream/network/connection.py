"""One request over the network: pinned addresses, deadlines, no cookies, no environment proxies, redirects by hand."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import functools
import ipaddress
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from urllib.parse import SplitResult, urlsplit

import aiohttp
from yarl import URL

from proxy.upstream.errors import (
    AddressRefused,
    CertificateRefused,
    UpstreamMisbehaved,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.upstream.network.addresses import (
    CheckedResolver,
    OwnServers,
    check_literal,
    loopback_allowed,
    private_addresses_allowed,
)
from proxy.upstream.network.private_registries import PrivateRegistries, port_of
from proxy.upstream.network.redirect import origin, redirect_target
from proxy.upstream.network.response import UpstreamResponse
from proxy.upstream.network.response_head import TolerantHandler
from proxy.upstream.settings import ConnectionPolicy, UpstreamSettings
from registry_access.runtime.connections.name_lookup import NameLookup
from registry_access.runtime.connections.reachable import is_literal
from registry_access.runtime.failure import why

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEP_METHOD = frozenset({307, 308})
_READ_BUFFER = 512 * 1024
_HEADER_LINE = 128 * 1024  # bytes: registries behind gateways send policies of 40 KB
_HEADER_LINES = 256
_HOST = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?", re.ASCII)
_LOW_PORTS = frozenset({80, 443})  # of those below 1024 that a redirect may lead to


class Follow(Enum):
    """Which redirects are followed."""

    NEVER = auto()
    WITHIN = auto()  # those to the same scheme, host and port
    ANYWHERE = auto()


@dataclass(frozen=True, slots=True)
class _Hop:
    """One URL on the way of a request. `private`, `loopback` and `plain` (HTTP): what it may be.

    `redirected`: a redirect named it, and not a credential.
    """

    url: str
    parts: SplitResult
    private: bool
    loopback: bool
    plain: bool
    redirected: bool

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.parts.scheme, self.parts.hostname or "", port_of(self.parts)

    @property
    def authority(self) -> str:
        host = self.parts.hostname or ""
        usual = port_of(self.parts) == {"https": 443, "http": 80}.get(self.parts.scheme)
        return host if usual else f"{host}:{port_of(self.parts)}"


class Connections:
    """The aiohttp sessions of a process. `overrides` maps host names to IPv4 address[:port], for tests and split DNS."""

    def __init__(
        self, settings: UpstreamSettings, *, overrides: dict[str, str] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._networks = tuple(ipaddress.ip_network(text) for text in settings.allowed_networks)
        self._private = PrivateRegistries(settings.private_registries)
        self._own = OwnServers(settings.own_ports)
        self._names = NameLookup()
        self._overrides = overrides or {}
        self._tls = tls
        # A pool for each reach: a connection that one request may make must not serve another that may not.
        self._sessions: dict[tuple[bool, bool], aiohttp.ClientSession] = {}

    async def start(self) -> None:
        tls = self._tls or self._settings.tls()
        for private in (False, True):
            for loopback in (False, True):
                self._sessions[private, loopback] = self._session(tls)

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()
        self._names.close()

    def _session(self, tls: ssl.SSLContext) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=tls,
            limit=0,
            resolver=CheckedResolver(self._settings.allowed_networks, self._overrides, self._own, self._names),
            use_dns_cache=False,
            keepalive_timeout=30,
        )
        # aiohttp has no public way to give a connection its protocol.
        connector._factory = functools.partial(TolerantHandler, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # noqa: SLF001
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
            max_line_size=_HEADER_LINE,
            max_field_size=_HEADER_LINE,
            max_headers=_HEADER_LINES,
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        access: ConnectionPolicy,
        data: bytes | None = None,
        follow: Follow = Follow.ANYWHERE,
        deadline: float | None = None,
        redirected: bool = False,
    ) -> UpstreamResponse:
        """Sends a request and returns the answer behind any redirects.

        Authorization stays with the scheme, host and port that it was given for: behind a redirect to another it is left out, on
        the way back too. `redirected` says that `url` itself was named by a redirect, and not by a credential. `deadline` is
        seconds until the headers of each hop. Raises UpstreamUnreachable, UpstreamTimeout, UpstreamMisbehaved.
        """
        sent = {"User-Agent": "akua-registry-access", "Accept-Encoding": "identity", **headers}
        first = hop = self._hop(url, access, redirected=redirected)
        elsewhere = redirected
        for _ in range(self._settings.redirects + 1):
            response = await self._send(method, hop, sent, access, data, deadline or self._settings.headers_seconds)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location or follow is Follow.NEVER:
                return UpstreamResponse(response, redirected=elsewhere)
            try:
                target = redirect_target(hop.url, location, hop.authority)
            except UpstreamMisbehaved:
                response.close()
                raise
            within = origin(target) == first.origin
            if follow is Follow.WITHIN and not within:
                return UpstreamResponse(response, redirected=elsewhere)
            response.close()
            if data is not None and response.status not in _KEEP_METHOD:
                method, data = "GET", None
            if within:
                hop = replace(first, url=target, parts=urlsplit(target))
            else:
                elsewhere = True
                hop = replace(self._hop(target, access, redirected=True), plain=first.plain)
                sent = {name: value for name, value in sent.items() if name.lower() != "authorization"}
        raise UpstreamMisbehaved(f"{hop.authority} redirects without end")

    def _hop(self, url: str, access: ConnectionPolicy, *, redirected: bool) -> _Hop:
        """Raises UpstreamMisbehaved. Where a redirect leads, a private address takes the administrator's word for that host."""
        parts = urlsplit(url)
        try:
            port_of(parts)
        except ValueError:
            raise UpstreamMisbehaved("an upstream registry leads to a URL with an invalid port") from None
        # An override is the operator's own word on where a name is.
        overridden = parts.hostname in self._overrides
        permitted = overridden or (self._private.lists(parts) if redirected else self._private.permits(parts))
        return _Hop(
            url,
            parts,
            private=access.private_addresses and permitted,
            loopback=overridden or not redirected,
            plain=access.insecure and permitted,
            redirected=redirected,
        )

    async def _send(
        self, method: str, hop: _Hop, headers: Mapping[str, str], access: ConnectionPolicy, data: bytes | None, deadline: float
    ) -> aiohttp.ClientResponse:
        self._check(hop, access)
        session = self._sessions.get((hop.private, hop.loopback))
        if session is None:
            raise UpstreamUnreachable("the way to upstream registries is closed")
        timeout = aiohttp.ClientTimeout(
            total=None,
            connect=self._settings.connect_seconds,  # the name's look-up included
            sock_connect=self._settings.connect_seconds,
            sock_read=self._settings.idle_seconds,
        )
        with _set(private_addresses_allowed, hop.private), _set(loopback_allowed, hop.loopback), _translated(hop):
            async with asyncio.timeout(deadline):
                # A signed URL must arrive as it was signed: it is not quoted again.
                return await session.request(
                    method, URL(hop.url, encoded=True), headers=headers, data=data, allow_redirects=False, timeout=timeout
                )

    def _check(self, hop: _Hop, access: ConnectionPolicy) -> None:
        """Raises UpstreamMisbehaved for a URL that no registry has, AddressRefused for one that may not be reached."""
        parts, host, port = hop.parts, hop.parts.hostname, port_of(hop.parts)
        if parts.scheme not in ("https", "http"):
            raise UpstreamMisbehaved(f"{host or 'an upstream registry'} leads to a {parts.scheme or 'relative'} URL")
        if not host or parts.username is not None:
            raise UpstreamMisbehaved("an upstream registry leads to a URL without a host, or with a user name")
        if parts.scheme == "http" and not access.insecure:
            raise UpstreamMisbehaved(
                f"{hop.authority} is to be asked by plain HTTP; to allow that, set insecure: true on the credential"
            )
        if parts.scheme == "http" and not hop.plain:
            raise AddressRefused(
                f"{hop.authority} is to be asked by plain HTTP; an administrator allows that by adding the credential's registry "
                "to AKUA_PRIVATE_REGISTRIES"
            )
        check_literal(host, private=hop.private, networks=self._networks, loopback=hop.loopback)
        if not _HOST.fullmatch(_written_host(parts)):
            raise UpstreamMisbehaved("an upstream registry leads to a URL whose host cannot be read")
        if hop.redirected and port < 1024 and port not in _LOW_PORTS:
            raise AddressRefused(f"a redirect leads to port {port} of {host}, where no registry keeps its content")
        if is_literal(host):
            self._own.check(host, host, port)


def _written_host(parts: SplitResult) -> str:
    """The host as the URL has it, brackets included, in lower case."""
    authority = parts.netloc.lower()
    return authority if parts.port is None else authority.rpartition(":")[0]


@contextmanager
def _set(variable: contextvars.ContextVar[bool], value: bool) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


@contextmanager
def _translated(hop: _Hop) -> Iterator[None]:
    """aiohttp's exceptions as ours, in words that say what to look at."""
    whom, host = hop.authority, hop.parts.netloc.lower()
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise UpstreamTimeout(f"{whom} cannot be connected to: no answer in time", host, connecting=True) from error
    except TimeoutError as error:
        raise UpstreamTimeout(f"{whom} did not answer in time", host) from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise CertificateRefused(
            f"the certificate of {whom} is not trusted: {_certificate_problem(error.certificate_error)}"
        ) from error
    except aiohttp.ClientConnectorDNSError as error:
        raise UpstreamUnreachable(f"the name {hop.parts.hostname} does not resolve", host) from error
    except (aiohttp.ClientResponseError, aiohttp.http.HttpProcessingError) as error:
        raise UpstreamMisbehaved(f"{whom} answered with headers that are not valid HTTP, or too large") from error
    except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as error:
        raise UpstreamUnreachable(f"{whom} cannot be reached: {_connection_problem(error)}", host) from error


def _certificate_problem(error: Exception) -> str:
    said = getattr(error, "verify_message", "") or "it is not for this name"
    return f"{said}; a CA of your own belongs into AKUA_UPSTREAM_CA_FILE"


def _connection_problem(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error, aiohttp.ClientSSLError) or isinstance(cause, ssl.SSLError):
        return "it does not speak TLS as we do; set insecure: true on the credential for a registry that speaks plain HTTP"
    if isinstance(cause, aiohttp.ServerDisconnectedError | ConnectionResetError | BrokenPipeError):
        return "it closed the connection without an answer"
    code = getattr(cause, "errno", None)
    if isinstance(cause, ConnectionRefusedError) or code == errno.ECONNREFUSED:
        return "the connection was refused"
    if code in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "there is no route to it"
    return why(cause)

"""One request over the network: pinned addresses, deadlines, no cookies, no environment proxies, redirects by hand."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import ssl
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from proxy.upstream.addresses import CheckedResolver, check_literal, private_addresses_allowed
from proxy.upstream.errors import AddressRefused, UpstreamMisbehaved, UpstreamTimeout, UpstreamUnreachable
from proxy.upstream.response import UpstreamResponse
from proxy.upstream.response_head import TolerantHandler
from proxy.upstream.settings import Access, UpstreamSettings

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_READ_BUFFER = 512 * 1024
_HEADER_LINE = 128 * 1024  # bytes: registries behind gateways send policies of 40 KB
_HEADER_LINES = 256


class Connections:
    """One aiohttp session for a process. `overrides` maps host names to IPv4 address[:port], for tests and split DNS."""

    def __init__(
        self, settings: UpstreamSettings, *, overrides: dict[str, str] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._networks = tuple(ipaddress.ip_network(text) for text in settings.allowed_networks)
        self._overrides = overrides
        self._tls = tls
        self._public: aiohttp.ClientSession | None = None
        self._inward: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        tls = self._tls or self._settings.tls()
        # Two pools: a connection that was made with private addresses allowed must not serve an upstream that may not.
        self._public, self._inward = self._session(tls), self._session(tls)

    async def close(self) -> None:
        for session in (self._public, self._inward):
            if session:
                await session.close()

    def _session(self, tls: ssl.SSLContext) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=tls,
            limit=0,
            resolver=CheckedResolver(self._settings.allowed_networks, self._overrides),
            use_dns_cache=False,
            keepalive_timeout=30,
        )
        connector._factory = functools.partial(TolerantHandler, loop=asyncio.get_running_loop())  # type: ignore[assignment]
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
        access: Access,
        data: bytes | None = None,
        follow: bool = True,
        deadline: float | None = None,
    ) -> UpstreamResponse:
        """Sends a request and returns the answer behind any redirects, which are followed without Authorization.

        `deadline` is seconds until the headers of each hop. Raises UpstreamUnreachable, UpstreamTimeout, UpstreamMisbehaved.
        """
        sent = {"User-Agent": "akua-registry-access", "Accept-Encoding": "identity", **headers}
        for _ in range(self._settings.redirects + 1):
            response = await self._send(method, url, sent, access, data, deadline or self._settings.headers_seconds)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location or not follow:
                return UpstreamResponse(response)
            response.close()
            url = urljoin(url, location)
            sent = {name: value for name, value in sent.items() if name.lower() != "authorization"}
        raise UpstreamMisbehaved(f"{urlsplit(url).hostname} redirects without end")

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], access: Access, data: bytes | None, deadline: float
    ) -> aiohttp.ClientResponse:
        parts = urlsplit(url)
        session = self._inward if access.private_addresses else self._public
        if session is None:
            raise UpstreamUnreachable("the way to upstream registries is closed")
        if parts.scheme != "https" and not (access.insecure and parts.scheme == "http"):
            raise UpstreamMisbehaved(
                f"{parts.hostname} leads to a {parts.scheme} URL; set insecure on the credential to allow http"
            )
        if not parts.hostname or parts.username is not None:
            raise UpstreamMisbehaved("an upstream registry leads to a URL without host, or with a user name")
        check_literal(parts.hostname, private=access.private_addresses, networks=self._networks)
        allowed = private_addresses_allowed.set(access.private_addresses)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._settings.connect_seconds, sock_read=self._settings.idle_seconds
        )
        try:
            async with asyncio.timeout(deadline):
                # A signed URL must arrive as it was signed: nothing is quoted anew.
                return await session.request(
                    method, URL(url, encoded=True), headers=headers, data=data, allow_redirects=False, timeout=timeout
                )
        except AddressRefused:
            raise
        except TimeoutError as error:
            raise UpstreamTimeout(f"{parts.hostname} did not answer in time") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise UpstreamUnreachable(f"the certificate of {parts.hostname} is not trusted: {error.certificate_error}") from error
        except aiohttp.ClientConnectorDNSError as error:
            raise UpstreamUnreachable(f"the name {parts.hostname} does not resolve") from error
        except (aiohttp.ClientResponseError, aiohttp.http.HttpProcessingError) as error:
            raise UpstreamMisbehaved(f"{parts.hostname} answered with headers that are not valid HTTP, or too large") from error
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as error:
            raise UpstreamUnreachable(f"{parts.hostname} cannot be reached: {type(error).__name__}") from error
        finally:
            private_addresses_allowed.reset(allowed)

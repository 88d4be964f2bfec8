"""Raw JSON requests to an API server: every one with a deadline, every answer's status looked at, errors translated.

Nothing here logs a body: it may be a Secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson

from registry_access.model.errors import AlreadyExists, Conflict, InvalidManifest, NotFound, StateError, StateUnavailable
from registry_access.runtime.failure import why
from registry_access.state.kubernetes.client.access import ClusterAccess, TokenFile
from registry_access.state.kubernetes.client.event_stream import BrokenStream, events_of
from registry_access.state.kubernetes.client.interface import JSON, Listed
from registry_access.state.kubernetes.client.resource_path import WatchScope

FIELD_MANAGER = "akua"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_INITIAL_EVENTS = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
_PAGE = 500
_PAGE_OF_SECRETS = 10  # each may be a megabyte, and whose they are is not known before they are read
_ATTEMPTS = 3
_MESSAGE_MAXIMUM = 4096  # what is passed on of a server's own words
_READ_BUFFER = 256 * 1024
_TRANSPORT_ERRORS = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, TimeoutError, OSError)


class Gone(Exception):
    """410: the resource version, or the list's continuation, is too old. List again from the start."""


class Unavailable(StateUnavailable):
    """`status` is the HTTP status, 0 without an answer. `retry_after` is what the server asked for, in seconds."""

    def __init__(self, message: str, *, status: int = 0, retry_after: float = 0.0) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(message)


class KubernetesApi:
    """One per cluster. Raises StateError's subclasses, and InvalidManifest for what the server finds invalid."""

    def __init__(self, access: ClusterAccess, *, timeout: float = 10.0) -> None:
        self._access = access
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._allowance = access.answers_maximum

    def allow(self) -> None:
        """From here on answers may have as many bytes again as `ClusterAccess.answers_maximum` says."""
        self._allowance = self._access.answers_maximum

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """The answer's JSON. Tries again what the server did not do (429, a token just replaced, a failed GET), in time."""
        deadline = asyncio.get_running_loop().time() + (timeout or self._timeout)
        for attempt in range(1, _ATTEMPTS + 1):
            left = deadline - asyncio.get_running_loop().time()
            try:
                return await self._once(method, path, body, query or {}, content_type, accept, max(left, 0.05))
            except Unavailable as error:
                renewable = error.status == 401 and isinstance(self._access.token, TokenFile)
                repeatable = renewable or error.status == 429 or (method == "GET" and error.status in (500, 502, 503, 504))
                wait = max(error.retry_after, 0.1 * attempt)
                if attempt == _ATTEMPTS or not repeatable or left < wait * 2:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def clock_offset(self) -> float:
        """Seconds by which the server's clock is ahead of ours, right to about one: its Date header has no more.

        Raises Unavailable, also when there is no such header.
        """
        before = time.time()
        timeout = aiohttp.ClientTimeout(total=self._timeout)
        try:
            async with await self._send("GET", "/version", None, {}, JSON, JSON, timeout) as response:
                between = (before + time.time()) / 2
                return parsedate_to_datetime(response.headers.get("Date", "")).timestamp() + 0.5 - between
        except _TRANSPORT_ERRORS as error:
            raise _unreachable(error) from error
        except ValueError as error:
            raise Unavailable("the API server's answer has no Date header") from error

    async def pages(self, scope: Listed, *, accept: str = JSON, whole: bool = False) -> AsyncIterator[dict[str, Any]]:
        """A consistent list (no resourceVersion asked for), by pages of 500 (Secrets with their values: 10) unless `whole`.
        Raises Gone.
        """
        limit = _PAGE_OF_SECRETS if scope.path.endswith("/secrets") and accept == JSON else _PAGE
        query = scope.selectors if whole else scope.selectors | {"limit": str(limit)}
        while True:
            page = await self.request("GET", scope.path, query=query, accept=accept, timeout=30.0)
            yield page
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            query = query | {"continue": token}

    @contextlib.asynccontextmanager
    async def watch(self, scope: WatchScope, resource_version: str, seconds: int) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The watch's events from `resource_version` on; the server ends it after `seconds`. Raises Gone, BrokenStream.

        From "" on, every object that is there comes first, as of now, and a bookmark that says so (KEP-3157, WatchList); servers
        that do not have that answer with an ERROR event or InvalidManifest. 75 s without a byte end the watch too: bookmarks
        come about every 60 s.
        """
        start = {"resourceVersion": resource_version} if resource_version else _INITIAL_EVENTS
        query = scope.selectors | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
            **start,
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=75)
        try:
            async with await self._send("GET", scope.path, None, query, JSON, JSON, timeout) as response:
                if response.status != 200:
                    raise await self._problem(response)
                yield events_of(response.content.iter_any())
        except _TRANSPORT_ERRORS as error:
            raise _unreachable(error) from error

    async def _once(
        self, method: str, path: str, body: object, query: Mapping[str, str], content_type: str, accept: str, seconds: float
    ) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with await self._send(method, path, body, query, content_type, accept, timeout) as response:
                if not 200 <= response.status <= 299:
                    raise await self._problem(response)
                answer = orjson.loads(await self._body(response))
        except _TRANSPORT_ERRORS as error:
            raise _unreachable(error) from error
        except orjson.JSONDecodeError as error:
            raise Unavailable("the API server's answer is not JSON") from error
        if not isinstance(answer, dict):
            raise Unavailable("the API server's answer is not a JSON object")
        return answer

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if self._allowance is None:
            return await response.read()
        pieces = []
        async for piece in response.content.iter_any():
            self._allowance -= len(piece)
            if self._allowance < 0:
                raise Unavailable(f"the API server answers with more than {self._access.answers_maximum:,} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    async def _send(
        self,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, str],
        content_type: str,
        accept: str,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": "akua-registry-access"}
        if self._access.answers_maximum is not None:
            headers["Accept-Encoding"] = "identity"  # nothing is unpacked: its size would be anything
        if token := await self._access.token():
            headers["Authorization"] = f"Bearer {token}"
        return await self._connected().request(
            method,
            self._access.server + path,
            params=query,
            data=None if body is None else orjson.dumps(body),
            headers=headers,
            timeout=timeout,
            server_hostname=self._access.tls_server_name,
            proxy=self._access.proxy,
            allow_redirects=False,
        )

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._access.tls, limit=0, socket_factory=_keepalive_socket, resolver=self._access.resolver
            )
            # No environment proxies and no .netrc: the address is the one that was configured.
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                read_bufsize=_READ_BUFFER,
                auto_decompress=self._access.answers_maximum is None,
            )
        return self._session

    async def _problem(self, response: aiohttp.ClientResponse) -> Exception:
        status: dict[str, Any] = {}
        with contextlib.suppress(orjson.JSONDecodeError, UnicodeDecodeError):
            answer = orjson.loads((await response.content.read(65536)) or b"{}")
            status = answer if isinstance(answer, dict) else {}
        if response.status == 401 and isinstance(self._access.token, TokenFile):
            self._access.token.forget()
        return problem_of(response.status, status, response.headers.get("Retry-After", ""))


def problem_of(code: int, status: Mapping[str, Any], retry_after: str = "") -> Exception:
    """The exception for an API server's Status (meta/v1)."""
    message, reason = str(status.get("message") or f"the API server answered {code}")[:_MESSAGE_MAXIMUM], status.get("reason")
    errors: dict[int, type[StateError]] = {404: NotFound, 409: AlreadyExists if reason == "AlreadyExists" else Conflict}
    if code in errors:
        return errors[code](message)
    if code == 410 or reason in ("Expired", "Gone"):
        return Gone(message)
    if code in (400, 413, 415, 422):
        return _invalid(message, status)
    if code == 403 and "being terminated" in message:
        return Conflict(message)
    if code == 403:
        message = f"not allowed: {message}; see the RBAC of the manifests"
    return Unavailable(message, status=code, retry_after=float(retry_after) if retry_after.isdigit() else 0.0)


def _invalid(message: str, status: Mapping[str, Any]) -> InvalidManifest:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    if not isinstance(causes, list) or not causes:
        return InvalidManifest(message)
    field = str(causes[0].get("field") or "").removeprefix("<nil>")
    return InvalidManifest("; ".join(str(cause.get("message")) for cause in causes)[:_MESSAGE_MAXIMUM], field=field)


def _unreachable(error: BaseException) -> Unavailable:
    return Unavailable(f"the API server cannot be reached: {why(error)}")


def _keepalive_socket(address: Any) -> socket.socket:
    """The kernel's own notice of a peer that is gone, beside our heartbeats."""
    family, type_, proto, _, _ = address
    made = socket.socket(family=family, type=type_, proto=proto)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 10_000)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


__all__ = ["APPLY_PATCH", "FIELD_MANAGER", "MERGE_PATCH", "BrokenStream", "Gone", "KubernetesApi", "Unavailable", "problem_of"]

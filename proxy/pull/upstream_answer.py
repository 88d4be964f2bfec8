"""One question to an upstream registry, and its answer relayed: checked, never rewritten but for the name of a tag list."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from starlette.types import Scope, Send

from proxy.oci_errors import API_VERSION_HEADERS
from proxy.protocol.distribution_path import BlobPath, ManifestPath, ReferrersPath, RepositoryPath, TagsPath
from proxy.pull.exchange import Exchange
from proxy.pull.relayed_headers import encoded, next_link, paging, to_client, to_upstream
from proxy.pull.streaming import CorruptBody, Sent, relay
from proxy.upstream.errors import UpstreamMisbehaved
from proxy.upstream.response import UpstreamResponse
from proxy.upstream.resumption import ResumableBody
from proxy.upstream.target import TargetKind, UpstreamTarget
from proxy.upstream.upstreams import UpstreamAccess, Upstreams
from registry_access.model.names.digest import Digest, is_digest, parse_digest
from registry_access.runtime.telemetry import Telemetry

MANIFEST_MAXIMUM = 4 * 1024 * 1024  # distribution-spec, "Pushing Manifests": what registries are to accept at least
_LIST_MAXIMUM = 4 * 1024 * 1024
_BUFFERED_MAXIMUM = 64 * 1024
_REFUSAL_HEADERS = ("Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "Docker-RateLimit-Source")


class UpstreamAnswer:
    """`ask` first, then `send` what came. `close` drops the upstream's connection, at any moment and as often as one likes.

    What was sent is noted in `exchange` while it goes out.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        telemetry: Telemetry,
        exchange: Exchange,
        path: RepositoryPath,
        access: UpstreamAccess,
        scope: Scope,
    ) -> None:
        self._upstreams = upstreams
        self._telemetry = telemetry
        self._exchange = exchange
        self._path = path
        self._access = access
        self._method: str = scope["method"]
        self._target = _target(path, scope.get("query_string", b""))
        self.asked = to_upstream(scope["headers"], blob=isinstance(path, BlobPath))
        self._open: list[ResumableBody | UpstreamResponse] = []

    def close(self) -> None:
        for answer in self._open:
            answer.close()

    async def ask(self) -> UpstreamResponse:
        """The upstream's answer, whatever its status. Raises UpstreamError.

        A HEAD that an upstream does not answer as clients need it becomes a GET: public.ecr.aws has 401 for the HEAD of a
        blob and serves its GET; without digest or length crane fails.
        """
        response = await self._request(self._method)
        if self._method == "HEAD":
            refused = isinstance(self._path, BlobPath) and response.status in (401, 405)
            bare = isinstance(self._path, ManifestPath) and response.status == 200 and not _describes(response, self._path)
            if refused or bare:
                response.close()
                response = await self._request("GET")
        return response

    async def send(self, response: UpstreamResponse, send: Send) -> None:
        """Relays an answer that gate 8 lets pass. Raises UpstreamError, ClientGone."""
        path, exchange = self._path, self._exchange
        headers = API_VERSION_HEADERS | to_client(response.headers)
        if isinstance(path, BlobPath | ManifestPath) and path.digest is not None:
            # What was asked for, whatever the upstream calls it; the bytes are checked against it.
            headers["Docker-Content-Digest"] = str(path.digest)
        if isinstance(path, TagsPath | ReferrersPath):
            headers |= next_link(response.headers, f"/v2/{path.client_name}/{_list_suffix(path)}")
        exchange.digest = headers.get("Docker-Content-Digest", "")
        if response.status == 416:
            await self._whole(send, 416, headers | {"Content-Length": "0"})
        elif self._method == "HEAD" or response.status == 304:
            await self._head(response, headers, send)
        elif isinstance(path, BlobPath):
            await self._blob(path, response, headers, send)
        elif isinstance(path, ManifestPath):
            body = await response.read(MANIFEST_MAXIMUM)
            headers["Docker-Content-Digest"] = exchange.digest = _checked_digest(path, headers, body)
            await self._whole(send, 200, headers, body)
        else:
            body = await response.read(_LIST_MAXIMUM)
            await self._whole(send, 200, headers, _renamed(body, path) if isinstance(path, TagsPath) else body)

    async def _request(self, method: str) -> UpstreamResponse:
        response = await self._upstreams.request(self._access, method, self._target, self.asked)
        self._open.append(response)
        return response

    async def _head(self, response: UpstreamResponse, headers: dict[str, str], send: Send) -> None:
        length = response.length
        if isinstance(self._path, ManifestPath) and response.method == "GET":
            body = await response.read(MANIFEST_MAXIMUM)
            length = len(body)
            headers["Docker-Content-Digest"] = self._exchange.digest = _checked_digest(self._path, headers, body)
        # A list's length is not known without the list: the repository's name in it changes.
        if length is not None and response.status != 304 and not isinstance(self._path, TagsPath):
            headers["Content-Length"] = str(length)
        await self._start(send, response.status, headers)
        await send({"type": "http.response.body", "body": b""})

    async def _blob(self, path: BlobPath, response: UpstreamResponse, headers: dict[str, str], send: Send) -> None:
        headers.setdefault("Content-Type", "application/octet-stream")
        # A part of a blob has no digest of its own to be checked against.
        digest = path.digest if response.status == 200 else None
        if response.length is not None and response.length <= _BUFFERED_MAXIMUM:
            body = await response.read(_BUFFERED_MAXIMUM)
            _check(digest, body)
            await self._whole(send, response.status, headers, body)
            return
        if response.length is not None:
            headers["Content-Length"] = str(response.length)
        pieces = ResumableBody(self._upstreams, self._access, self._target, self.asked, response)
        self._open.append(pieces)
        self._exchange.status = response.status
        sent = Sent()
        try:
            start = {"type": "http.response.start", "status": response.status, "headers": encoded(headers)}
            await relay(send, start, pieces.pieces(), digest, sent)
        finally:
            self._exchange.bytes = sent.bytes
            self._telemetry.bytes.inc(sent.bytes)

    async def _whole(self, send: Send, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        await self._start(send, status, headers | {"Content-Length": str(len(body))})
        await send({"type": "http.response.body", "body": body})
        self._exchange.bytes = len(body)
        self._telemetry.bytes.inc(len(body))

    async def _start(self, send: Send, status: int, headers: Mapping[str, str]) -> None:
        self._exchange.status = status
        await send({"type": "http.response.start", "status": status, "headers": encoded(headers)})


def _target(path: RepositoryPath, query_string: bytes) -> UpstreamTarget:
    if isinstance(path, ManifestPath):
        return UpstreamTarget(path.registry, path.repository, TargetKind.MANIFESTS, path.reference)
    if isinstance(path, BlobPath):
        return UpstreamTarget(path.registry, path.repository, TargetKind.BLOBS, str(path.digest))
    query = paging(query_string)
    if isinstance(path, ReferrersPath):
        return UpstreamTarget(path.registry, path.repository, TargetKind.REFERRERS, str(path.digest), query)
    return UpstreamTarget(path.registry, path.repository, TargetKind.TAGS, "", query)


def refusal_headers(response: UpstreamResponse) -> dict[str, str]:
    """Of an upstream's refusal what helps a client: when to come again, and how much is left."""
    return {name: value for name, value in to_client(response.headers).items() if name in _REFUSAL_HEADERS}


def _describes(response: UpstreamResponse, path: ManifestPath) -> bool:
    named = path.digest is not None or is_digest(response.headers.get("Docker-Content-Digest", ""))
    return response.length is not None and named


def _list_suffix(path: TagsPath | ReferrersPath) -> str:
    return "tags/list" if isinstance(path, TagsPath) else f"referrers/{path.digest}"


def _renamed(body: bytes, path: TagsPath) -> bytes:
    """The list, sorted, with the client's name for the repository. Raises UpstreamMisbehaved when it is no list of tags."""
    try:
        listed = json.loads(body)
    except (ValueError, RecursionError):
        listed = None
    tags = listed.get("tags") if isinstance(listed, dict) else None
    # Some registries say null for a repository that has none left.
    if not isinstance(listed, dict) or not isinstance(tags, list | None) or any(not isinstance(tag, str) for tag in tags or ()):
        raise UpstreamMisbehaved("the upstream registry's answer is no list of tags")
    return json.dumps({"name": path.client_name, "tags": sorted(tags or ())}).encode()


def _check(digest: Digest | None, body: bytes) -> None:
    if digest is not None:
        hasher = digest.hasher()
        hasher.update(body)
        if not digest.matches(hasher):
            raise CorruptBody(f"the upstream's bytes do not have the digest {digest}")


def _checked_digest(path: ManifestPath, headers: Mapping[str, str], body: bytes) -> str:
    """The manifest's digest: what was asked for, else what the upstream says, else computed; checked in the first two cases."""
    said = path.reference if path.digest else headers.get("Docker-Content-Digest", "")
    if is_digest(said):
        _check(parse_digest(said), body)
        return said
    return f"sha256:{hashlib.sha256(body).hexdigest()}"

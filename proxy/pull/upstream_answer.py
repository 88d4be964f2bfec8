"""One question to an upstream registry, and its answer relayed: checked, and never rewritten but for the name of a tag list."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

from starlette.types import Message, Scope, Send

from proxy.metrics import ProxyMetrics
from proxy.oci_errors import API_VERSION_HEADERS
from proxy.protocol.distribution_path import BlobPath, ManifestPath, ReferrersPath, RepositoryPath, TagsPath
from proxy.pull.coded_blob import BUFFERED_MAXIMUM, MANIFEST_MAXIMUM, beginning, chained, decoded_blob
from proxy.pull.exchange import Exchange
from proxy.pull.large_documents import LARGE, Turn
from proxy.pull.manifest import checked_digest, json_object
from proxy.pull.paging import next_link, paging
from proxy.pull.relayed_headers import encoded, to_client, to_upstream, warnings
from proxy.pull.streaming import Sent, relay
from proxy.pull.tag_list import renamed
from proxy.upstream.errors import UpstreamTruncated
from proxy.upstream.network.content_coding import decoded
from proxy.upstream.network.response import UpstreamResponse
from proxy.upstream.network.resumption import ResumableBody
from proxy.upstream.target import TargetKind, UpstreamTarget
from proxy.upstream.upstreams import UpstreamAccess, Upstreams
from registry_access.model.errors import UpstreamError
from registry_access.model.names.digest import Digest, is_digest
from registry_access.runtime.connections.outgoing import Outgoing

LIST_MAXIMUM = 16 * 1024 * 1024  # registries that do not page answer all tags at once: 5 MB have been seen
_SENT_AT_ONCE = 16 * 1024  # about what leaves without waiting for the client: RFC 6928
_WHOLE_ATTEMPTS = 3
_REFUSAL_HEADERS = ("Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "Docker-RateLimit-Source")
_TOTAL = re.compile(r"bytes 0-0/(\d+)", re.ASCII)


class UpstreamAnswer:
    """`ask` first, then `send` what came. `close` drops the upstream's connection, at any moment and as often as one likes.

    What was sent is noted in `exchange` while it goes out.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        telemetry: ProxyMetrics,
        turn: Turn,
        exchange: Exchange,
        path: RepositoryPath,
        access: UpstreamAccess,
        scope: Scope,
    ) -> None:
        self._turn = turn
        self._upstreams = upstreams
        self._telemetry = telemetry
        self._exchange = exchange
        self._path = path
        self._access = access
        self._method: str = scope["method"]
        self._target = _target(path, scope.get("query_string", b""))
        # A Range means something to GET alone (RFC 9110 section 14.2).
        self.asked = to_upstream(scope["headers"], blob=isinstance(path, BlobPath) and self._method == "GET")
        self._open: list[ResumableBody | UpstreamResponse] = []
        self._outgoing: Outgoing | None = scope.get("extensions", {}).get("akua.outgoing")

    def close(self) -> None:
        for answer in self._open:
            answer.close()

    async def ask(self) -> UpstreamResponse:
        """The upstream's answer, whatever its status. Raises UpstreamError.

        A HEAD is answered as GET would be: what an upstream's answer to it lacks is got by GET. public.ecr.aws has 401 for the
        HEAD of a blob; a signed URL is often good for GET alone; without length or digest crane fails.
        """
        if self._method == "HEAD" and isinstance(self._path, BlobPath | ManifestPath):
            response = await self._request("HEAD")
            if _is_complete(response, self._path):
                return response
            response.close()
        return await self._request("GET")

    async def send(self, response: UpstreamResponse, send: Send) -> None:
        """Relays an answer that gate 8 lets pass. Raises UpstreamError, ClientGone."""
        try:
            await self._send(response, send)
        finally:
            self._turn.give_up()

    async def _send(self, response: UpstreamResponse, send: Send) -> None:
        path = self._path
        if response.status == 416:
            await self._whole(send, response)
        elif response.status == 304:
            await self._start(send, response, self._headers(response))
            await send({"type": "http.response.body", "body": b""})
        elif isinstance(path, BlobPath):
            await (self._blob_head if self._method == "HEAD" else self._blob)(path, response, send)
        elif isinstance(path, ManifestPath):
            await self._manifest(path, response, send)
        else:
            await self._list(path, response, send)

    async def _request(self, method: str, headers: Mapping[str, str] | None = None) -> UpstreamResponse:
        response = await self._upstreams.request(self._access, method, self._target, self.asked if headers is None else headers)
        self._open.append(response)
        return response

    def _headers(self, response: UpstreamResponse) -> dict[str, str]:
        """Those that every answer has. The digest is what was asked for, whatever the upstream calls it."""
        headers = API_VERSION_HEADERS | to_client(response.headers)
        asked = self._path.digest if isinstance(self._path, BlobPath | ManifestPath) else None
        said = str(asked) if asked else headers.pop("Docker-Content-Digest", "")
        return headers | ({"Docker-Content-Digest": said} if is_digest(said) else {})

    async def _manifest(self, path: ManifestPath, response: UpstreamResponse, send: Send) -> None:
        if response.method == "HEAD":
            headers = self._headers(response) | {"Content-Length": str(response.length)}
            await self._start(send, response, headers)
            await send({"type": "http.response.body", "body": b""})
            return
        response, body = await self._document(response, MANIFEST_MAXIMUM)
        said, media_type = response.headers.get("Docker-Content-Digest", ""), response.headers.get("Content-Type", "")
        digest = checked_digest(body, path.digest, said, media_type)
        await self._whole(send, response, body, {"Docker-Content-Digest": digest})

    async def _list(self, path: TagsPath | ReferrersPath, response: UpstreamResponse, send: Send) -> None:
        response, body = await self._document(response, LIST_MAXIMUM)
        media_type = response.headers.get("Content-Type", "")
        if isinstance(path, TagsPath):
            body = renamed(body, path.client_name, media_type)
        else:
            json_object(body, "a list of referrers", media_type)
        link = next_link(response.headers, f"/v2/{path.client_name}/{_list_suffix(path)}", self._target.query)
        await self._whole(send, response, body, link)

    async def _blob_head(self, path: BlobPath, response: UpstreamResponse, send: Send) -> None:
        headers = {"Content-Type": "application/octet-stream"} | self._headers(response)
        if (length := response.length) is None:
            response.close()
            length = await self._total_length()
        if length is not None:
            headers["Content-Length"] = str(length)
        await self._start(send, response, headers)
        await send({"type": "http.response.body", "body": b""})

    async def _total_length(self) -> int | None:
        """A blob's length where neither HEAD nor GET says it: a part of it comes with the length of the whole."""
        try:
            part = await self._request("GET", self.asked | {"Range": "bytes=0-0"})
        except UpstreamError:
            return None
        part.close()
        total = _TOTAL.fullmatch(part.headers.get("Content-Range", "")) if part.status == 206 else None
        return int(total[1]) if total else None

    async def _blob(self, path: BlobPath, response: UpstreamResponse, send: Send) -> None:
        # A part of a blob has no digest of its own to be checked against.
        digest = path.digest if response.status == 200 else None
        attempt = 1
        while response.length is not None and response.length <= BUFFERED_MAXIMUM:
            try:
                body = await response.read(BUFFERED_MAXIMUM)
            except UpstreamTruncated as error:
                response, attempt = await self._asked_again(response, attempt, error), attempt + 1
                continue
            coding = response.headers.get("Content-Encoding", "")
            await self._whole(send, response, decoded_blob(digest, body, coding) if digest else body)
            return
        headers = {"Content-Type": "application/octet-stream"} | self._headers(response)
        if response.length is not None:
            headers["Content-Length"] = str(response.length)
        pieces = ResumableBody(self._upstreams, self._access, self._target, self.asked, response)
        self._open.append(pieces)
        streamed, coding = pieces.pieces(), response.headers.get("Content-Encoding", "identity")
        if digest is not None and coding != "identity":
            held, ended = await beginning(streamed, coding, self._turn)
            if ended:
                await self._whole(send, response, decoded_blob(digest, held, coding))
                return
            streamed = chained(held, streamed)
        await self._stream(send, self._start_of(response, headers), streamed, digest)

    async def _document(self, response: UpstreamResponse, limit: int) -> tuple[UpstreamResponse, bytes]:
        """A JSON document, decoded, and the answer that it came with. An empty one was cut short, whatever its headers say."""
        attempt = 1
        while True:
            try:
                body = await response.read(limit, large=LARGE, before_large=self._turn.take)
                if not body:
                    raise UpstreamTruncated("the upstream registry's answer is empty")
                return response, decoded(body, response.headers.get("Content-Encoding", ""), limit)
            except UpstreamTruncated as error:
                response, attempt = await self._asked_again(response, attempt, error), attempt + 1

    async def _asked_again(self, response: UpstreamResponse, attempt: int, cause: UpstreamTruncated) -> UpstreamResponse:
        """Another answer in place of one that was cut short: nothing of it has been sent. Raises `cause` when there is none."""
        response.close()
        if attempt >= _WHOLE_ATTEMPTS:
            raise cause
        again = await self._request("GET")
        if again.status != response.status:
            again.close()
            raise cause
        return again

    async def _whole(
        self, send: Send, response: UpstreamResponse, body: bytes = b"", more: Mapping[str, str] | None = None
    ) -> None:
        headers = self._headers(response) | dict(more or {}) | {"Content-Length": str(len(body))}
        if isinstance(self._path, BlobPath):
            headers.setdefault("Content-Type", "application/octet-stream")
        if self._method == "HEAD" or len(body) <= _SENT_AT_ONCE:
            await self._start(send, response, headers)
            await send({"type": "http.response.body", "body": b"" if self._method == "HEAD" else body})
            self._note(0 if self._method == "HEAD" else len(body))
            return
        await self._stream(send, self._start_of(response, headers), _slices(body), None)

    async def _stream(self, send: Send, start: Message, pieces: AsyncIterator[bytes], digest: Digest | None) -> None:
        sent = Sent()
        try:
            await relay(send, start, pieces, digest, sent, self._outgoing)
        finally:
            self._note(sent.bytes)

    def _note(self, sent: int) -> None:
        self._exchange.bytes = sent
        self._telemetry.bytes.inc(sent)

    async def _start(self, send: Send, response: UpstreamResponse, headers: Mapping[str, str]) -> None:
        await send(self._start_of(response, headers))

    def _start_of(self, response: UpstreamResponse, headers: Mapping[str, str]) -> Message:
        self._exchange.status, self._exchange.digest = response.status, headers.get("Docker-Content-Digest", "")
        lines = encoded(headers, warnings(response.headers))
        return {"type": "http.response.start", "status": response.status, "headers": lines}


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


def _is_complete(response: UpstreamResponse, path: BlobPath | ManifestPath) -> bool:
    """Whether an upstream's answer to HEAD says all that its answer to GET would, as far as clients need it."""
    if response.status != 200:
        # Not there, not changed, not now: so would GET be. Other refusals may concern HEAD alone.
        return response.status in (304, 404, 429, 502, 503, 504)
    if isinstance(path, BlobPath):
        return bool(response.length)
    media_type, coding = response.headers.get("Content-Type", ""), response.headers.get("Content-Encoding", "identity")
    named = path.digest is not None or is_digest(response.headers.get("Docker-Content-Digest", ""))
    return bool(response.length) and named and bool(media_type) and "html" not in media_type and coding == "identity"


def _list_suffix(path: TagsPath | ReferrersPath) -> str:
    return "tags/list" if isinstance(path, TagsPath) else f"referrers/{path.digest}"


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for first in range(0, len(body), BUFFERED_MAXIMUM):
        yield body[first : first + BUFFERED_MAXIMUM]

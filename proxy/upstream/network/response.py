"""An upstream's answer: status, headers, and a raw body that is read with back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from multidict import CIMultiDictProxy

from proxy.upstream.errors import UpstreamMisbehaved, UpstreamTimeout, UpstreamTruncated


class UpstreamResponse:
    """`close()` drops the connection at once; a released one would read on to the end of the body."""

    def __init__(self, response: aiohttp.ClientResponse, *, redirected: bool = False) -> None:
        self._response = response
        self.redirected = redirected  # not the registry's own host answered, but another that it named

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def method(self) -> str:
        return self._response.method

    @property
    def url(self) -> str:
        """Where the answer came from, behind any redirects."""
        return str(self._response.url)

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        return self._response.headers

    @property
    def length(self) -> int | None:
        """Content-Length, or None if the upstream did not send one."""
        return self._response.content_length

    async def body(self) -> AsyncIterator[bytes]:
        """The bytes as they come. Raises UpstreamTruncated, UpstreamTimeout."""
        received = 0
        try:
            async for piece in self._response.content.iter_any():
                received += len(piece)
                yield piece
        except TimeoutError as error:
            raise UpstreamTimeout("the upstream registry went silent in the middle of a body") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamTruncated(f"the upstream registry cut the body short after {received} bytes") from error
        if self.length is not None and received < self.length and self._response.method != "HEAD":
            raise UpstreamTruncated(f"the upstream registry ended the body after {received} of {self.length} bytes")

    async def read(self, limit: int, *, large: int = 0, before_large: Callable[[], Awaitable[None]] | None = None) -> bytes:
        """The whole body. Raises UpstreamMisbehaved when it is longer than `limit` bytes.

        `before_large` is awaited before more than `large` bytes are held.
        """
        if self.length is not None and self.length > limit:
            raise UpstreamMisbehaved(f"the upstream registry's answer is larger than {limit} bytes")
        pieces, size = [], 0
        async for piece in self.body():
            pieces.append(piece)
            size += len(piece)
            if before_large is not None and size > large:
                await before_large()
            if size > limit:
                raise UpstreamMisbehaved(f"the upstream registry's answer is larger than {limit} bytes")
        return b"".join(pieces)

    def close(self) -> None:
        self._response.close()

    async def drain(self) -> None:
        """Reads what little is left so that the connection can be reused; closes it if that is much or slow."""
        try:
            async with asyncio.timeout(1):
                await self.read(65536)
        except (TimeoutError, UpstreamMisbehaved, UpstreamTruncated, UpstreamTimeout):
            self.close()

"""A blob whose body was cut short, continued by a new request from where it stopped; the client does not notice.

The registry is asked again, not the redirect's target: signed URLs expire.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

from proxy.upstream.errors import UpstreamTimeout, UpstreamTruncated
from proxy.upstream.network.response import UpstreamResponse
from proxy.upstream.target import UpstreamTarget
from proxy.upstream.upstreams import UpstreamAccess, Upstreams
from registry_access.model.errors import UpstreamError

_ATTEMPTS = 3
# A condition was met by the first answer; asked again, it could only turn the rest of the body into a 304.
_FIRST_ONLY = frozenset({"range", "if-range", "if-none-match", "if-modified-since"})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.ASCII)


class ResumableBody:
    """The body of `response`, which answered a GET of `target`. `close()` ends the answer that is being read."""

    def __init__(
        self,
        upstreams: Upstreams,
        access: UpstreamAccess,
        target: UpstreamTarget,
        headers: Mapping[str, str],
        response: UpstreamResponse,
    ) -> None:
        self._upstreams = upstreams
        self._access = access
        self._target = target
        self._headers = headers
        self._current = response
        self._first, self._last = _extent(response)

    def close(self) -> None:
        self._current.close()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes. Raises UpstreamTruncated when the upstream does not continue."""
        position, attempts = self._first, 0
        while True:
            try:
                async for piece in self._current.body():
                    position += len(piece)
                    attempts = 0
                    yield piece
            except (UpstreamTruncated, UpstreamTimeout) as error:
                attempts += 1
                if attempts > _ATTEMPTS or (self._last is not None and position > self._last):
                    raise
                await (self._begin_again(error) if position == self._first else self._resume(position, error))
            else:
                return

    async def _begin_again(self, cause: UpstreamError) -> None:
        """Nothing has come yet, so the same request is repeated; this needs neither ranges nor a known length."""
        await self._ask(self._headers, self._current.status, (self._first, self._last), cause)

    async def _resume(self, position: int, cause: UpstreamError) -> None:
        if self._last is None:
            raise cause
        headers = {name: value for name, value in self._headers.items() if name.lower() not in _FIRST_ONLY}
        await self._ask(headers | {"Range": f"bytes={position}-{self._last}"}, 206, (position, self._last), cause)

    async def _ask(self, headers: Mapping[str, str], status: int, extent: tuple[int, int | None], cause: UpstreamError) -> None:
        self._current.close()
        try:
            response = await self._upstreams.request(self._access, "GET", self._target, headers)
        except UpstreamError:
            raise cause from None
        if response.status != status or _extent(response) != extent:
            response.close()
            raise cause
        self._current = response


def _extent(response: UpstreamResponse) -> tuple[int, int | None]:
    """First and last position of the body within the blob; the last is None if the upstream gave no length."""
    if response.status == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return (int(match[1]), int(match[2])) if match else (0, None)
    return 0, response.length - 1 if response.length is not None else None

"""Relays a body with back-pressure. The digest is checked before the last piece, and only a whole body ends cleanly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from starlette.types import Message, Receive, Send

from registry_access.model.errors import UpstreamError
from registry_access.model.names.digest import Digest
from registry_access.runtime.connections.outgoing import Outgoing

_STALL_SECONDS = 300.0


class CorruptBody(UpstreamError):
    """The bytes do not have the digest that was asked for."""


class ClientGone(Exception):
    """The client closed its connection."""


class StreamCut(Exception):
    """A gate no longer passes."""


class ClientStalled(ClientGone):
    """The client reads nothing, and keeps an upstream's connection busy."""


@dataclass(slots=True)
class Sent:
    """How many bytes of the body were handed to the server."""

    bytes: int = 0


async def relay(
    send: Send,
    start: Message,
    pieces: AsyncIterator[bytes],
    digest: Digest | None,
    sent: Sent,
    outgoing: Outgoing | None = None,
) -> None:
    """Sends `start` and every piece. Raises what `pieces` raises, and CorruptBody before the last piece is out.

    When this raises, the response is unfinished and the server breaks the connection: a client never takes a part for the whole.
    Returns when the last byte has left through `outgoing`, so that an answer can be cut for as long as there is something to cut.
    Raises ClientStalled when the client takes nothing for _STALL_SECONDS.
    """
    hasher = digest.hasher() if digest else None
    await send(start)
    if outgoing is not None:
        outgoing.mark()
    held = b""
    async for piece in pieces:
        if hasher:
            hasher.update(piece)
        if held:
            try:
                async with asyncio.timeout(_STALL_SECONDS):
                    await send({"type": "http.response.body", "body": held, "more_body": True})
            except TimeoutError as error:
                raise ClientStalled(f"the client took nothing for {_STALL_SECONDS:g} s") from error
            sent.bytes += len(held)
        held = piece
    if digest and hasher and not digest.matches(hasher):
        raise CorruptBody(f"the upstream's bytes do not have the digest {digest}")
    await finish(send, held, sent, outgoing)


async def finish(send: Send, last: bytes, sent: Sent, outgoing: Outgoing | None) -> None:
    """The last piece, and the end of the answer once all of it has left."""
    if outgoing is None:
        await send({"type": "http.response.body", "body": last, "more_body": False})
        sent.bytes += len(last)
        return
    await send({"type": "http.response.body", "body": last, "more_body": True})
    sent.bytes += len(last)
    await outgoing.flush(sent.bytes)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class Interruptible:
    """Runs a relay that ends at once, whatever it waits for, when the client goes away or the stream is cut."""

    def __init__(self, receive: Receive, close_upstream: Callable[[], None]) -> None:
        self._receive = receive
        self._close_upstream = close_upstream
        self._task: asyncio.Task[None] | None = None
        self._gone = False
        self._cut = False

    def cut(self) -> None:
        """Ends the relay with StreamCut."""
        self._cut = True
        self._end()

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Awaits `work`. Raises ClientGone or StreamCut when it was ended early, otherwise whatever `work` raises."""
        listener = asyncio.create_task(self._listen())
        self._task = asyncio.create_task(work)
        if self._cut:
            self._end()
        try:
            await self._task
        except asyncio.CancelledError:
            # We cancelled the task ourselves, unless the cancellation came from outside: that one must propagate.
            if not (self._cut or self._gone):
                self._task.cancel()
                raise
            raise (StreamCut() if self._cut else ClientGone()) from None
        except UpstreamError:
            if self._cut or self._gone:
                raise (StreamCut() if self._cut else ClientGone()) from None
            raise
        finally:
            listener.cancel()
            self._close_upstream()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._end()

    def _end(self) -> None:
        # Close first: the upstream connection is dropped in this call, not when the task is next scheduled.
        self._close_upstream()
        if self._task:
            self._task.cancel()

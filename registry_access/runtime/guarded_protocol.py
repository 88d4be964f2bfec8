"""uvicorn's HTTP protocol with what it leaves out: a deadline and a size for request headers, exactly one Host.

httptools accepts a missing or repeated Host and 200,000 headers, and uvicorn waits for them for ever (threats 16 and 27).
Content-Length beside Transfer-Encoding, and bare line feeds, httptools itself refuses.

Two things it gives applications beyond ASGI: `akua.phrase` in http.response.start is said in the status line behind the usual
phrase, and `scope["extensions"]["akua.abort"]` drops the connection with what is still buffered for it.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEADERS_MAXIMUM = 32 * 1024  # bytes before the body, request line included
HEADER_COUNT_MAXIMUM = 100


class GuardedProtocol(HttpToolsProtocol):
    """Answers 400 and closes, or 408 when the headers take longer than `header_deadline` seconds."""

    header_deadline: ClassVar[float] = 10.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._header_bytes = 0
        self._requests = 0
        self._in_headers = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        requests = self._requests
        super().data_received(data)
        # Looked at after parsing: what came with the headers in one piece, or before them, may be body.
        if self._in_headers and requests == self._requests and not self.transport.is_closing():
            if self._deadline is None:
                self._start_deadline()
            self._header_bytes += len(data)
            if self._header_bytes > HEADERS_MAXIMUM:
                self.send_400_response("The request's headers are too large.")

    def on_message_begin(self) -> None:
        self._in_headers = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._check_headers()
        super().on_headers_complete()

    def _check_headers(self) -> None:
        """They have come to their end in time; raises what the parser turns into the 400 that data_received sends."""
        self._stop_deadline()
        self._in_headers, self._header_bytes = False, 0
        names = [name for name, _ in self.headers]
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        one_host = names.count(b"host") == 1 or self.parser.get_http_version() == "1.0"
        if not one_host or len(names) > HEADER_COUNT_MAXIMUM or size > HEADERS_MAXIMUM:
            raise httptools.HttpParserCallbackError("one Host header and at most 100 headers")

    def on_message_complete(self) -> None:
        self._in_headers = True
        self._requests += 1
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, _extended(app, cycle))

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self.header_deadline, self._late)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()


class _StatusLine:
    """Stands in for the transport while the head of an answer is written."""

    def __init__(self, transport: Any, phrase: str) -> None:
        self._transport = transport
        self._phrase = phrase.encode("ascii", "replace").replace(b"\r", b" ").replace(b"\n", b" ")

    def write(self, head: bytes) -> None:
        line, end, rest = head.partition(b"\r\n")
        self._transport.write(line + b": " + self._phrase + end + rest)


def _extended(app: ASGIApp, cycle: RequestResponseCycle) -> Any:
    async def extended(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"] = {"akua.abort": cycle.transport.abort}

        async def phrased(message: Message) -> None:
            phrase = message.get("akua.phrase") if message["type"] == "http.response.start" else None
            if not phrase:
                await send(message)
                return
            transport = cycle.transport
            cycle.transport = _StatusLine(transport, phrase)  # type: ignore[assignment]
            try:
                await send(message)
            finally:
                cycle.transport = transport

        await app(scope, receive, phrased)

    return extended


def guarded(header_deadline: float) -> type[GuardedProtocol]:
    """The protocol class with this deadline, in seconds."""
    return type("GuardedProtocol", (GuardedProtocol,), {"header_deadline": header_deadline})

"""uvicorn's HTTP protocol with what it leaves out: deadlines and sizes for all that a client may draw out, exactly one Host.

httptools accepts a missing or repeated Host and 200,000 headers, and uvicorn waits for heads, bodies and readers for ever.
Content-Length beside Transfer-Encoding, and bare line feeds, httptools itself refuses.

A connection is in one of these states, and each of them ends:

| state | ends after | how |
|---|---|---|
| head: waiting for, or receiving, a request's line and headers | `limits.head` | 408 |
| body: receiving a request's body, answered already or not | `limits.body` | 408, or the connection breaks in mid-answer |
| answer: the client is to receive | `limits.stall` for each 64 KiB | the connection breaks |
| idle: between two requests | `limits.idle` | the connection closes |

Applications get three things beyond ASGI. `akua.phrase` in http.response.start appears in the status line after the usual phrase.
`scope["extensions"]["akua.outgoing"]` says what has left (`connections.outgoing`), and drops the connection with what has not.
`scope["extensions"]["akua.known"]` takes the name of the client that sent this request, once it is verified.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import httptools
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from registry_access.runtime.connections.delivery import Delivery, delivery
from registry_access.runtime.connections.gate import BODY, HEAD, STALL, Gate, Slot, Standing
from registry_access.runtime.connections.limits import Limits
from registry_access.runtime.connections.outgoing import Outgoing
from registry_access.runtime.http.forwarded import forwarded_address

HEADERS_MAXIMUM = 32 * 1024  # bytes before the body, request line included
HEADER_COUNT_MAXIMUM = 100
PIPELINE_MAXIMUM = 16  # requests sent before the answer to the first; registry clients send none
_DELIVERED_MINIMUM = 64 * 1024


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `slot` is its place at the gate."""

    limits: ClassVar[Limits] = Limits()
    slot: Slot

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._header_bytes = 0
        self._body_bytes = 0
        self._requests = 0
        self._in_headers = True
        self._begun = False  # a request's first byte has come, its last has not
        self._own_cycle = False  # `cycle` is that request's, not an earlier one's
        self._leaving = False  # the next answer is the last
        self._deadline: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._seen: Delivery | None = None
        self._outgoing: Outgoing | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if not hasattr(self, "slot"):
            admitted = Gate(self.limits).admit(self.client[0] if self.client else "", transport.abort)
            assert admitted is not None  # noqa: S101 - the first connection of a gate always finds room
            self.slot = admitted
        self.slot.drop = transport.abort
        self._start_deadline(self.limits.head)
        self._check_delivery()

    def leave(self) -> None:
        """The next answer tells the client to use another connection (RFC 9112 section 9.6)."""
        self._leaving = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        self._unset_keepalive_if_required()
        if self._watch is not None:
            self._watch.cancel()
        self.slot.free()
        if self._outgoing is not None:
            self._outgoing.lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        requests = self._requests
        super().data_received(data)
        if self.transport.is_closing():
            return
        # Looked at after parsing: what came with the headers in one piece, or before them, may be body.
        if not self._in_headers:
            if self._deadline is None:
                self._start_deadline(self.body_deadline)
        elif self._begun or requests == self._requests:
            if self._deadline is None:
                self._start_deadline(self.limits.head)
            if requests == self._requests:
                self._header_bytes += len(data)
                if self._header_bytes > HEADERS_MAXIMUM:
                    self.send_400_response("The request's headers are too large.")

    @property
    def body_deadline(self) -> float:
        """Seconds for a whole body."""
        return self.limits.body

    def on_message_begin(self) -> None:
        self._in_headers = self._begun = True
        self._own_cycle = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.transport.is_closing():
            return
        self._check_headers()
        self._body_bytes = 0
        if len(self.pipeline) >= PIPELINE_MAXIMUM:
            self.transport.abort()
        elif self._declared_length() > self.limits.body_maximum:
            self._refuse(413)
        else:
            super().on_headers_complete()
            self._own_cycle = True

    def on_body(self, body: bytes) -> None:
        if self.transport.is_closing():
            return
        self._body_bytes += len(body)
        if self._body_bytes > self.limits.body_maximum:
            self._refuse(413)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.transport.is_closing():
            return
        self._stop_deadline()
        self._in_headers, self._begun = True, False
        self._requests += 1
        super().on_message_complete()
        self._own_cycle = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._begun:
            # The deadline of the request's rest counts; idle is who has sent all of it.
            self._unset_keepalive_if_required()

    def send_400_response(self, msg: str) -> None:
        if self._has_place_for_a_refusal():
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def _declared_length(self) -> int:
        """Bytes by Content-Length, which httptools has checked to be a number."""
        return next((int(value) for name, value in self.headers if name == b"content-length"), 0)

    def _check_headers(self) -> None:
        """They have come to their end in time; raises what the parser turns into the 400 that data_received sends."""
        self._stop_deadline()
        self._in_headers, self._header_bytes = False, 0
        names = [name for name, _ in self.headers]
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        one_host = names.count(b"host") == 1 or self.parser.get_http_version() == "1.0"
        if not one_host or len(names) > HEADER_COUNT_MAXIMUM or size > HEADERS_MAXIMUM:
            raise httptools.HttpParserCallbackError("one Host header and at most 100 headers")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._leaving:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, self._extended(app, cycle))

    def _start_deadline(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._late)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused and self.pipeline:
            # It is we who do not read, while an earlier request of this connection is being answered.
            self._start_deadline(self.limits.head if self._in_headers else self.body_deadline)
            return
        self.slot.ended(HEAD if self._in_headers else BODY)
        self._refuse(408)

    def _has_place_for_a_refusal(self) -> bool:
        """Not while an earlier answer is owed or under way, nor when the request that is being received is answered already."""
        if self.transport.is_closing() or self.pipeline:
            return False
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and not self._own_cycle):
            return True
        return self._own_cycle and not cycle.response_started

    def _refuse(self, status: int) -> None:
        """Answers without the application, and closes."""
        if self._has_place_for_a_refusal():
            self.transport.write(_REFUSALS[status])
            self.transport.close()
        else:
            self.transport.abort()

    def _check_delivery(self) -> None:
        """Every `limits.stall` seconds: a client that took too little of what waits for it holds memory and an upstream."""
        now, before = delivery(self.transport), self._seen
        if now and before and now.waiting and now.received - before.received < min(_DELIVERED_MINIMUM, before.waiting):
            self.slot.ended(STALL)
            self.transport.abort()
            return
        self._seen = now
        self._watch = self.loop.call_later(self.limits.stall, self._check_delivery)

    def _extended(self, app: ASGIApp, cycle: RequestResponseCycle) -> Any:
        async def extended(scope: Scope, receive: Receive, send: Send) -> None:
            slot = self.slot
            standing: Standing = slot
            if slot.trusted:
                claim = slot.claim(forwarded_address(scope["client"][0], scope["headers"], slot.gate.trusts))
                if claim is None:
                    await _too_many(send)
                    return
                standing = claim
            self._outgoing = Outgoing(cycle.transport)
            scope["extensions"] = {"akua.outgoing": self._outgoing, "akua.known": standing.know}
            standing.begin()
            try:
                await app(scope, receive, _phrased(cycle, send))
            except ClientDisconnect:
                pass  # before its request was complete: nobody is left to answer
            finally:
                standing.end()

        return extended


class _StatusLine:
    """Stands in for the transport while the head of an answer is written."""

    def __init__(self, transport: Any, phrase: str) -> None:
        self._transport = transport
        self._phrase = phrase.encode("ascii", "replace").replace(b"\r", b" ").replace(b"\n", b" ")

    def write(self, head: bytes) -> None:
        line, end, rest = head.partition(b"\r\n")
        self._transport.write(line + b": " + self._phrase + end + rest)


def _phrased(cycle: RequestResponseCycle, send: Send) -> Send:
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

    return phrased


def _refusal(line: str) -> bytes:
    return f"HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()


_REFUSALS = {408: _refusal("408 Request Timeout"), 413: _refusal("413 Content Too Large")}


async def _too_many(send: Send) -> None:
    """RFC 6585 section 4. Closed, because the request's body may never come."""
    headers = [(b"retry-after", b"1"), (b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def guarded(limits: Limits) -> type[GuardedProtocol]:
    """The protocol class with these limits."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits})

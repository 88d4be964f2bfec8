"""HTTP for an application that answers from memory: nothing to wait for, so no task, no ASGI, and no turn of the event loop
between the last byte of a request and the first of its answer.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from registry_access.runtime.connections.limits import Limits
from registry_access.runtime.http.guarded_protocol import GuardedProtocol
from registry_access.runtime.http.held_bodies import HeldBodies
from registry_access.runtime.http.request_sender import Sender, certified_names

_HELD_MAXIMUM = 32 * 1024 * 1024
_PIECES_MAXIMUM = 16_384  # a network's smallest packets make half as many of the largest body
_JSON, _TEXT = b"application/json", b"text/plain; charset=utf-8"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Reply(NamedTuple):
    """An answer. `headers` are those beyond content-type and content-length."""

    status: int
    body: bytes
    content_type: bytes = _JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def text_reply(status: int, text: str, *headers: tuple[bytes, bytes]) -> Reply:
    """A line for a person."""
    return Reply(status, f"{text}\n".encode(), _TEXT, headers)


@runtime_checkable
class ImmediateApp(Protocol):
    """`reply` must neither block nor raise. `body_maximum` in bytes; a body is waited for `body_seconds` at most."""

    body_maximum: int
    body_seconds: float

    def reply(self, method: bytes, path: bytes, body: bytes) -> Reply: ...


@runtime_checkable
class Watchful(Protocol):
    """An ImmediateApp that bounds what all its clients together may have under way, and is told what was refused for it."""

    bodies: HeldBodies

    def refused(self, status: int, size: int) -> None:
        """A request was refused with `status` (408, 413, 503) when `size` bytes of its body had been sent or announced."""


@runtime_checkable
class Discerning(Protocol):
    """An ImmediateApp whose answers depend on who asks: it is called by `reply_to` instead of `reply`."""

    def reply_to(self, sender: Sender, method: bytes, path: bytes, body: bytes) -> Reply: ...


class ImmediateProtocol(GuardedProtocol):
    """Connections are kept. On shutdown a request that has begun is still read and answered."""

    immediate_app: ClassVar[ImmediateApp]
    bodies: ClassVar[HeldBodies]

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)
        self._body: bytes | bytearray = b""
        self._pieces = 0
        self._holding = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._begun and self._body and not self.transport.is_closing():
            self._holding = True
            self.bodies.hold(self, len(self._body))
        elif self._holding:
            self._let_go()

    def give_way(self) -> None:
        size, self._body, self._holding = len(self._body), b"", False
        self._turn_away(503, "too many large requests at once; try again", size, (b"retry-after", b"1"))

    @property
    def body_deadline(self) -> float:
        return self.immediate_app.body_seconds

    def on_message_begin(self) -> None:
        self._in_headers = self._begun = True
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._body, self._pieces = b"", 0

    def on_headers_complete(self) -> None:
        if self.transport.is_closing():
            return
        self._check_headers()
        if self._declared_length() > self.immediate_app.body_maximum:
            self._too_large(self._declared_length())
        elif self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self.transport.is_closing():
            return
        size = len(self._body) + len(body)
        self._pieces += 1
        if size > self.immediate_app.body_maximum:
            self._too_large(size)
        elif self._pieces > _PIECES_MAXIMUM:
            self._turn_away(413, f"the body comes in more than {_PIECES_MAXIMUM} pieces", size)
        elif not self._body:
            self._body = body
        else:
            # Not a list of pieces: a body in chunks of one byte would take forty times its size.
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body

    def on_message_complete(self) -> None:
        self._stop_deadline()
        self._in_headers, self._begun = True, False
        self._requests += 1
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        body, self._body = bytes(self._body), b""
        self.slot.begin()
        reply = self._reply(self.parser.get_method(), self.url.partition(b"?")[0], body)
        if reply.status == HTTPStatus.OK:
            self.slot.know(self.slot.address)  # as much as is known without a client certificate
        self.slot.end()
        keep = self.parser.should_keep_alive() and not self._leaving
        self._answer(reply, keep)
        if keep:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _reply(self, method: bytes, path: bytes, body: bytes) -> Reply:
        app = self.immediate_app
        if not isinstance(app, Discerning):
            return app.reply(method, path, body)
        authorizations = [value for name, value in self.headers if name == b"authorization"]
        names = certified_names(self.transport.get_extra_info("peercert"))
        return app.reply_to(Sender(authorizations[0] if len(authorizations) == 1 else b"", names), method, path, body)

    def shutdown(self) -> None:
        self._leaving = True
        if not self._begun:
            self.transport.close()

    def pause_writing(self) -> None:
        """A client that does not read its answers gets no more of them."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.flow.resume_reading()

    def _answer(self, reply: Reply, keep: bool) -> None:
        head = [_STATUS_LINES[reply.status]]
        for name, value in (*self.server_state.default_headers, *reply.headers):
            head += (name, b": ", value, b"\r\n")
        head += (b"content-type: ", reply.content_type, b"\r\ncontent-length: %d\r\n" % len(reply.body))
        head.append(b"\r\n" if keep else b"connection: close\r\n\r\n")
        if self.parser.get_method() != b"HEAD":
            head.append(reply.body)
        self.transport.write(b"".join(head))
        if not keep:
            self.transport.close()

    def _late(self) -> None:
        in_body = not self._in_headers and not self.transport.is_closing()
        super()._late()
        if in_body:
            self._report_refusal(408, max(len(self._body), self._declared_length()))

    def _too_large(self, size: int) -> None:
        self._turn_away(413, f"the body is larger than {self.immediate_app.body_maximum} bytes", size)

    def _turn_away(self, status: int, text: str, size: int, *headers: tuple[bytes, bytes]) -> None:
        self._body = b""
        if not self.transport.is_closing():
            self._answer(text_reply(status, text, *headers), False)
            self._report_refusal(status, size)

    def _report_refusal(self, status: int, size: int) -> None:
        if isinstance(self.immediate_app, Watchful):
            self.immediate_app.refused(status, size)

    def _let_go(self) -> None:
        self._holding = False
        self.bodies.release(self)


def immediate(limits: Limits, app: ImmediateApp) -> type[ImmediateProtocol]:
    """The protocol class for `app` with these limits; those of bodies are the app's own."""
    bodies = app.bodies if isinstance(app, Watchful) else HeldBodies(_HELD_MAXIMUM)
    return type("ImmediateProtocol", (ImmediateProtocol,), {"limits": limits, "immediate_app": app, "bodies": bodies})

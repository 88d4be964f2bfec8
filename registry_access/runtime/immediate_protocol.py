"""HTTP for an application that answers from memory: nothing to wait for, so no task, no ASGI, and no turn of the event loop
between the last byte of a request and the first of its answer.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from registry_access.runtime.connections.limits import Limits
from registry_access.runtime.guarded_protocol import GuardedProtocol

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


class ImmediateProtocol(GuardedProtocol):
    """Connections are kept. On shutdown a request that has begun is still read and answered."""

    immediate_app: ClassVar[ImmediateApp]

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)
        self._pieces: list[bytes] = []
        self._size = 0
        self._last = False

    @property
    def body_deadline(self) -> float:
        return self.immediate_app.body_seconds

    def on_message_begin(self) -> None:
        self._in_headers = self._begun = True
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._pieces, self._size = [], 0

    def on_headers_complete(self) -> None:
        if self.transport.is_closing():
            return
        self._check_headers()
        if self._declared_length() > self.immediate_app.body_maximum:
            self._too_large()
        elif self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self.immediate_app.body_maximum:
            self._too_large()
        else:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        self._stop_deadline()
        self._in_headers, self._begun = True, False
        self._requests += 1
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        self.slot.begin()
        reply = self.immediate_app.reply(self.parser.get_method(), self.url.partition(b"?")[0], body)
        if reply.status == HTTPStatus.OK:
            self.slot.know(self.slot.address)  # as much as is known without a client certificate
        self.slot.end()
        keep = self.parser.should_keep_alive() and not self._last
        self._answer(reply, keep)
        if keep:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def shutdown(self) -> None:
        self._last = True
        if not self._begun:
            self.transport.close()

    def pause_writing(self) -> None:
        """Who does not read answers is asked nothing more."""
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

    def _too_large(self) -> None:
        if not self.transport.is_closing():
            self._answer(text_reply(413, f"the body is larger than {self.immediate_app.body_maximum} bytes"), False)


def immediate(limits: Limits, app: ImmediateApp) -> type[ImmediateProtocol]:
    """The protocol class for `app` with these limits; those of bodies are the app's own."""
    return type("ImmediateProtocol", (ImmediateProtocol,), {"limits": limits, "immediate_app": app})

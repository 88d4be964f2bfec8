"""The head of an upstream's answer before the parser sees it: an equal Content-Length said several times is said once.

RFC 9110 section 8.6 lets a recipient do so, and the clients' own HTTP libraries do; aiohttp's parser does not.
"""

from __future__ import annotations

from typing import Any

from aiohttp.client_proto import ResponseHandler

HEAD_MAXIMUM = 256 * 1024  # bytes of one answer's head; beyond it the parser decides with what there is
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class TolerantHandler(ResponseHandler):
    """aiohttp's protocol for one connection."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._head: bytes | None = None

    def set_response_params(self, **parameters: Any) -> None:
        """A request was sent: what comes next is the head of its answer."""
        self._head = b""
        super().set_response_params(**parameters)

    def data_received(self, data: bytes) -> None:
        if self._head is None or not data:
            super().data_received(data)
            return
        self._head += data
        while self._head:
            end = self._head.find(_END)
            if end < 0 and len(self._head) <= HEAD_MAXIMUM:
                return
            head, rest = (self._head[: end + len(_END)], self._head[end + len(_END) :]) if end >= 0 else (self._head, b"")
            # An interim answer (1xx) is followed by the head of another.
            interim = end >= 0 and head[9:10] == b"1"
            self._head = rest if interim else None
            super().data_received(single_length(head) + (b"" if interim else rest))
            if not interim:
                return


def single_length(head: bytes) -> bytes:
    """`head` with each Content-Length line once; lines that differ are left for the parser to refuse."""
    if head.lower().count(_LENGTH) < 2:
        return head
    seen, kept = set[bytes](), list[bytes]()
    for line in head.split(b"\r\n"):
        if line.lower().startswith(_LENGTH):
            value = line[len(_LENGTH) :].strip()
            if value in seen:
                continue
            seen.add(value)
        kept.append(line)
    return b"\r\n".join(kept)

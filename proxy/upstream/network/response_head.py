"""The head of an upstream's answer before the parser sees it, with what the clients' own HTTP libraries accept put in order.

aiohttp's parser refuses each of these:
  the same Content-Length several times is stated once       RFC 9110 section 8.6
  a length beside chunked transfer coding does not count     RFC 9112 section 6.3, rule 3
  lines may end with a line feed alone                       RFC 9112 section 2.2
An empty line before the status line belongs to no answer and is passed over.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp.client_proto import ResponseHandler

HEAD_MAXIMUM = 256 * 1024  # bytes of one answer's head; beyond it the parser decides with what there is
_END = re.compile(rb"\n\r?\n")
_LINE_FEED = re.compile(rb"\r?\n")
_CHUNKED = re.compile(rb"[\s,]chunked$")
_LENGTH = b"content-length:"
_CODING = b"transfer-encoding:"


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
        self._head = (self._head + data).lstrip(b"\r\n")
        while self._head:
            end = _END.search(self._head)
            if end is None and len(self._head) <= HEAD_MAXIMUM:
                return
            head, rest = (self._head[: end.end()], self._head[end.end() :]) if end else (self._head, b"")
            # An interim answer (1xx) is followed by the head of another.
            interim = end is not None and head[9:10] == b"1"
            self._head = rest.lstrip(b"\r\n") if interim else None
            super().data_received((in_order(head) if end else head) + (b"" if interim else rest))
            if not interim:
                return


def in_order(head: bytes) -> bytes:
    """A whole `head` as the parser accepts it. Lengths that contradict each other are left for the parser to refuse."""
    lines = _LINE_FEED.split(head)
    chunked = any(line.lower().startswith(_CODING) and _CHUNKED.search(b" " + _value(line).lower()) for line in lines)
    seen, kept, seen_length = set[bytes](), list[bytes](), False
    for line in lines:
        if not line.lower().startswith(_LENGTH):
            kept.append(line)
            continue
        seen_length = True
        values = {part.strip(b" \t") for part in _value(line).split(b",")}
        if chunked or values <= seen:
            continue
        seen |= values
        kept.append(b"Content-Length: " + values.pop() if len(values) == 1 else line)
    if chunked and seen_length:
        kept.insert(1, b"Connection: close")  # two readers may not agree where such an answer ends: nothing may follow it
    return b"\r\n".join(kept)


def _value(line: bytes) -> bytes:
    return line.partition(b":")[2].strip(b" \t")

"""What is put in order in the head of an answer, and what is left to the parser."""

from __future__ import annotations

import pytest

from proxy.upstream.network.response_head import in_order

CHUNKED = b"Transfer-Encoding: Chunked\r\n\r\n"
GZIPPED = b"Transfer-Encoding: gzip, chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (b"H\r\nContent-Length: 5\r\nA: b\r\ncontent-length:5 \r\n\r\n", b"H\r\nContent-Length: 5\r\nA: b\r\n\r\n"),
        (b"H\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", b"H\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        (b"H\r\nContent-Length: 5\r\nX-Content-Length: 5\r\n\r\n", b"H\r\nContent-Length: 5\r\nX-Content-Length: 5\r\n\r\n"),
        (b"H\r\nContent-Length: 5, 5\r\n\r\n", b"H\r\nContent-Length: 5\r\n\r\n"),
        (b"H\r\nContent-Length: 5, 6\r\n\r\n", b"H\r\nContent-Length: 5, 6\r\n\r\n"),
        (
            b"H\r\nContent-Length: 5\r\nTransfer-Encoding: Chunked\r\n\r\n",
            b"H\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n",
        ),
        (
            b"H\r\nTransfer-Encoding: a, chunked\r\nContent-Length: 5\r\n\r\n",
            b"H\r\nConnection: close\r\nTransfer-Encoding: a, chunked\r\n\r\n",
        ),
        (b"H\r\nTransfer-Encoding: notchunked\r\nContent-Length: 5\r\n\r\n",) * 2,
        (b"H\nContent-Length: 5\nA: b\n\n", b"H\r\nContent-Length: 5\r\nA: b\r\n\r\n"),
    ],
)
def test_a_head_is_put_in_order(head: bytes, expected: bytes) -> None:
    assert in_order(head) == expected

"""Lengths that are said several times."""

from __future__ import annotations

import pytest

from proxy.upstream.network.response_head import single_length


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (b"H\r\nContent-Length: 5\r\nA: b\r\ncontent-length:5 \r\n\r\n", b"H\r\nContent-Length: 5\r\nA: b\r\n\r\n"),
        (b"H\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", b"H\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        (b"H\r\nContent-Length: 5\r\nX-Content-Length: 5\r\n\r\n", b"H\r\nContent-Length: 5\r\nX-Content-Length: 5\r\n\r\n"),
    ],
)
def test_an_equal_length_is_said_once(head: bytes, expected: bytes) -> None:
    assert single_length(head) == expected

"""What crosses the proxy in headers, and what does not."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.pull.relayed_headers import encoded, retry_after, to_client, to_upstream, warnings


def answered(**headers: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}))


def test_the_clients_headers_are_chosen_and_joined() -> None:
    sent = [
        (b"accept", b"a/b"),
        (b"accept", b"c/d"),
        (b"authorization", b"Bearer secret"),
        (b"cookie", b"x"),
        (b"host", b"evil"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"if-none-match", b'"x"'),
        (b"range", b"bytes=0-1"),
        (b"if-range", b'"x"'),
    ]
    assert to_upstream(sent, blob=False) == {"Accept": "a/b, c/d", "If-None-Match": '"x"'}
    assert to_upstream(sent, blob=True) == {"Accept": "a/b, c/d", "If-None-Match": '"x"', "Range": "bytes=0-1", "If-Range": '"x"'}


@pytest.mark.parametrize("value", ["bytes=0-1", "bytes=-5", "bytes=7-", "bytes=0-3,100-103", "bytes=0-3, 5-", "Bytes=,0-1 ,,-2,"])
def test_ranges_of_bytes_reach_the_upstream_as_they_are(value: str) -> None:
    assert to_upstream([(b"range", value.encode())], blob=True) == {"Range": value}


@pytest.mark.parametrize(
    "range_", [b"lines=1-2", b"bytes=", b"bytes=,", b"bytes=-", b"bytes=\xb2-", b"bytes=0-1\n", b"bytes=0-1,x", b"bytes 0-1"]
)
def test_what_is_not_a_range_of_bytes_is_left_out(range_: bytes) -> None:
    assert to_upstream([(b"range", range_)], blob=True) == {}


def test_the_upstreams_headers_are_chosen() -> None:
    headers = answered(Content_Type="a/b", Set_Cookie="x", WWW_Authenticate="Basic", Docker_Content_Digest="d\udcff", ETag='"é"')
    assert to_client(headers) == {"Content-Type": "a/b", "ETag": '"é"'}


def test_each_warning_keeps_its_line_and_their_number_is_bounded() -> None:
    said = CIMultiDictProxy(CIMultiDict([("Warning", f'299 - "{number}"') for number in range(20)] + [("Warning", "a\udcff")]))
    assert warnings(said) == tuple(f'299 - "{number}"' for number in range(10))
    assert encoded({"A": "b"}, warnings(said)[:2]) == [(b"a", b"b"), (b"warning", b'299 - "0"'), (b"warning", b'299 - "1"')]


@pytest.mark.parametrize(
    ("value", "passes"), [("120", True), ("Wed, 21 Oct 2026 07:28:00 GMT", True), ("", False), ("1\udcff", False)]
)
def test_retry_after(value: str, passes: bool) -> None:
    assert retry_after(value) == ({"Retry-After": value} if passes else {})

"""What crosses the proxy in headers, and what does not."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.pull.relayed_headers import next_link, paging, retry_after, to_client, to_upstream


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


@pytest.mark.parametrize("range_", [b"bytes=0-1,3-4", b"lines=1-2", b"bytes=-", b"bytes=\xb2-", b"bytes=0-1\n"])
def test_a_range_that_is_not_one_of_bytes_is_left_out(range_: bytes) -> None:
    assert to_upstream([(b"range", range_)], blob=True) == {}


def test_the_upstreams_headers_are_chosen() -> None:
    headers = answered(Content_Type="a/b", Set_Cookie="x", WWW_Authenticate="Basic", Docker_Content_Digest="d\udcff", ETag='"é"')
    assert to_client(headers) == {"Content-Type": "a/b", "ETag": '"é"'}


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ('</v2/acme/app/tags/list?last=b&n=2>; rel="next"', "</here?last=b&n=2>"),
        ("<https://evil.example/v2/x?n=2&last=b&token=t&x=y>; rel=next", "</here?n=2&last=b&token=t>"),
        ('</v2/x?n=2>; rel="prev"', None),
        ('</v2/x>; rel="next"', None),
        ('<http://[>; rel="next"', None),
        ('</v2/x?n=\udcff>; rel="next"', None),
        ("nonsense", None),
    ],
)
def test_a_link_leads_below_the_proxy_or_nowhere(link: str, expected: str | None) -> None:
    assert next_link(answered(Link=link), "/here") == ({"Link": f'{expected}; rel="next"'} if expected else {})


def test_paging_is_passed_on_and_nothing_else() -> None:
    assert paging(b"ns=docker.io&n=5&last=a%26b&x=y&%FF=1") == (("n", "5"), ("last", "a&b"))
    assert paging(b"") == ()


@pytest.mark.parametrize(
    ("value", "passes"), [("120", True), ("Wed, 21 Oct 2026 07:28:00 GMT", True), ("", False), ("1\udcff", False)]
)
def test_retry_after(value: str, passes: bool) -> None:
    assert retry_after(value) == ({"Retry-After": value} if passes else {})

"""The upstream's cursor, carried through our own Link."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.pull.paging import next_link, paging


def links(*values: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict([("Link", value) for value in values]))


@pytest.mark.parametrize(
    ("link", "query"),
    [
        ('</v2/acme/app/tags/list?last=b&n=2>; rel="next"', "last=b&n=2"),
        ('</v2/acme/app/tags/list?next_page=gA%3D&n=50>; rel="next"', "next_page=gA%3D&n=50"),
        ("<https://evil.example/v2/x?n=2&last=b&token=t&x=y>; rel=next", "n=2&last=b&token=t&x=y"),
        ('<?cursor=a+b%2Fc&cursor=d&flag>; rel="next"', "cursor=a+b%2Fc&cursor=d&flag"),
        ('</v2/x?last=a,b;c>; rel="next"', "last=a,b;c"),
        ('</v2/x?last=b>; title="a, <b>; rel=prev"; rel="next"', "last=b"),
        (r'</v2/x?last=b>; title="a \"quoted\", text"; REL="NEXT"', "last=b"),
        ('</v2/x?last=a>; rel="prev", </v2/x?last=b>; rel="next"', "last=b"),
        ('</v2/x?last=b>;rel="start next"', "last=b"),
        ('</v2/x?last=b> ; ; rel = "next" ; crossorigin', "last=b"),
        ('</v2/x?last=b>; rel="next"; rel="prev"', "last=b"),
        (" , </v2/x?last=b>; rel=next,", "last=b"),
        ('</v2/x?last=b#fragment>; rel="next"', "last=b"),
        ('</v2/x?last=a b"c\u00e9>; rel="next"', "last=a%20b%22c%C3%A9"),
        ('</v2/x?n=2>; rel="prev"', None),
        ('</v2/x?n=2>; rel="prev"; rel="next"', None),
        ('</v2/x?n=2>; rel="next"; anchor="/other"', None),
        ('</v2/x?n=2>; rel="nextpage"', None),
        ("</v2/x?n=2>", None),
        ('</v2/x>; rel="next"', None),
        ('<http://[>; rel="next"', None),
        ('</v2/x?n=\udcff>; rel="next"', None),
        (f'</v2/x?last={"a" * 9000}>; rel="next"', None),
        ("nonsense", None),
    ],
)
def test_a_link_leads_below_the_proxy_or_nowhere(link: str, query: str | None) -> None:
    assert next_link(links(link), "/here", "n=1") == ({"Link": f'</here?{query}>; rel="next"'} if query else {})


def test_the_next_page_is_found_among_several_lines() -> None:
    found = next_link(links('</v2/x?p=0>; rel="first"', '</v2/x?p=2>; rel="next"'), "/here", "p=1")
    assert found == {"Link": '</here?p=2>; rel="next"'}


def test_a_page_that_leads_to_itself_is_the_last() -> None:
    assert next_link(links('</v2/x?n=50>; rel="next"'), "/here", "n=50") == {}


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (b"", ""),
        (b"n=5&last=a%26b&next_page=gA%3D", "n=5&last=a%26b&next_page=gA%3D"),
        (b"ns=docker.io&n=5&%6Es=x", "n=5"),
        (b"last=a+b&last=c", "last=a+b&last=c"),
        (b"last=\xff \r\n#", "last=%FF%20%0D%0A%23"),
    ],
)
def test_the_clients_query_is_passed_on_as_it_came(query: bytes, sent: str) -> None:
    assert paging(query) == sent

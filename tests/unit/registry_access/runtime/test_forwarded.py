"""X-Forwarded-For, believed as far as it was written by those that are trusted."""

from __future__ import annotations

import ipaddress

import pytest

from registry_access.runtime.connections.gate import Gate
from registry_access.runtime.connections.limits import Limits
from registry_access.runtime.forwarded import forwarded_address

TRUSTED = Gate(Limits(), trusted=[ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")])


@pytest.mark.parametrize(
    ("peer", "lines", "expected"),
    [
        ("192.0.2.1", [b"1.1.1.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", [b"6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", [b"6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", [b"6.6.6.6", b"1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", [b"1.1.1.1:4711"], "1.1.1.1"),
        ("10.0.0.1", [b"[2001:db8::1]:4711"], "2001:db8::1"),
        ("fd00::1", [b"2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", [b"1.1.1.1, nonsense"], "nonsense"),
        ("10.0.0.1", [b"1.1.1.1,"], "10.0.0.1"),
        ("::ffff:10.0.0.1", [b"1.1.1.1"], "1.1.1.1"),
    ],
)
def test_the_nearest_address_that_is_not_trusted(peer: str, lines: list[bytes], expected: str) -> None:
    headers = [(b"host", b"a"), *((b"x-forwarded-for", line) for line in lines)]
    assert forwarded_address(peer, headers, TRUSTED.trusts) == expected

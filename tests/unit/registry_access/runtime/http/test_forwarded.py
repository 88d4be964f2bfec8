"""X-Forwarded-For, believed as far as it was written by those that are trusted."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from registry_access.runtime.connections.gate import Gate
from registry_access.runtime.connections.limits import Limits
from registry_access.runtime.http.forwarded import ForwardedClients, forwarded_address

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


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"for=1.1.1.1"], "1.1.1.1"),
        ([b'for=6.6.6.6, for="1.1.1.1:4711";proto=https;by=10.0.0.2'], "1.1.1.1"),
        ([b'proto=https;For="[2001:db8::1]:47";host="a;for=6.6.6.6"'], "2001:db8::1"),
        ([b"for=6.6.6.6", b"for=1.1.1.1, for=10.9.9.9"], "1.1.1.1"),
        ([b"for=6.6.6.6, for=unknown"], "unknown"),
        ([b"for=6.6.6.6, proto=https"], "10.0.0.1"),
        ([b"nonsense"], "10.0.0.1"),
    ],
)
def test_the_header_of_rfc_7239(lines: list[bytes], expected: str) -> None:
    headers = [(b"forwarded", line) for line in lines]
    assert forwarded_address("10.0.0.1", headers, TRUSTED.trusts) == expected
    assert forwarded_address("192.0.2.1", headers, TRUSTED.trusts) == "192.0.2.1"


def test_of_both_headers_the_older_one_is_read() -> None:
    headers = [(b"forwarded", b"for=6.6.6.6"), (b"x-forwarded-for", b"1.1.1.1")]
    assert forwarded_address("10.0.0.1", headers, TRUSTED.trusts) == "1.1.1.1"


@pytest.mark.parametrize(
    ("peer", "client", "recorded_peer"), [("10.0.0.1", "1.1.1.1", "10.0.0.1"), ("192.0.2.1", "192.0.2.1", None)]
)
async def test_an_application_sees_the_client_and_the_peer(peer: str, client: str, recorded_peer: str | None) -> None:
    seen = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append((scope["client"][0], scope.get("akua.peer")))

    async def unused(*_: object) -> Any:
        pytest.fail("nothing is sent")

    forwarded = ForwardedClients(app, [ipaddress.ip_network("10.0.0.0/8")])
    scope = {"type": "http", "client": (peer, 4711), "headers": [(b"x-forwarded-for", b"6.6.6.6, 1.1.1.1")]}
    await forwarded(scope, unused, unused)
    assert seen == [(client, recorded_peer)]

"""Addresses, realms, challenges, circuits: what the way to an upstream allows."""

from __future__ import annotations

import ipaddress

import pytest

from proxy.upstream.addresses import CheckedResolver, check_literal, is_allowed, private_addresses_allowed
from proxy.upstream.challenge import Challenge, choose, parse_challenges
from proxy.upstream.circuit import Circuits
from proxy.upstream.errors import AddressRefused, RealmRefused, UpstreamUnreachable
from proxy.upstream.realms import check_realm


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1:248:1893:25c8:1946", True, True),
        ("127.0.0.1", False, True),
        ("10.1.2.3", False, True),
        ("172.16.0.1", False, True),
        ("192.168.1.1", False, True),
        ("100.64.0.1", False, True),
        ("::1", False, True),
        ("fd12::1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("64:ff9b::10.0.0.1", False, True),
        ("2002:0a00:0001::", False, True),
        # Metadata services, link-local, multicast and nothing at all: never.
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("fd00:ec2::254", False, False),
        ("100.100.100.200", False, False),
        ("168.63.129.16", False, False),
        ("fe80::1", False, False),
        ("224.0.0.1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
    ],
)
def test_addresses(address: str, public: bool, private: bool) -> None:
    assert is_allowed(address, private=False) is public
    assert is_allowed(address, private=True) is private


def test_networks_can_be_admitted_but_never_metadata() -> None:
    networks = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("169.254.0.0/16"))
    assert is_allowed("10.1.2.3", private=False, networks=networks)
    assert not is_allowed("169.254.169.254", private=False, networks=networks)


async def test_a_name_that_leads_inside_is_refused() -> None:
    resolver = CheckedResolver(overrides={"rebind.example": "169.254.169.254", "inside.example": "10.0.0.5"})
    for name in ("rebind.example", "inside.example"):
        with pytest.raises(AddressRefused, match="not a public address"):
            await resolver.resolve(name, 443)
    allowed = private_addresses_allowed.set(True)
    assert (await resolver.resolve("inside.example", 443))[0]["host"] == "10.0.0.5"
    private_addresses_allowed.reset(allowed)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254"])
def test_literals_are_checked_too(host: str) -> None:
    with pytest.raises(AddressRefused):
        check_literal(host, private=False)
    check_literal("registry.example", private=False)


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("https://auth.docker.io/token", "docker.io"),
        ("https://gitlab.com/jwt/auth", "registry.gitlab.com"),
        ("https://ghcr.io/token", "ghcr.io"),
        ("https://registry.example:5000/token", "registry.example:5000"),
        ("https://registry.example/token", "registry.example:5000"),
    ],
)
def test_realms_of_the_registry_itself_and_of_known_pairs(realm: str, registry: str) -> None:
    assert check_realm(realm, registry) == realm


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("https://evil.example/token", "ghcr.io"),
        ("https://ghcr.io.evil.example/token", "ghcr.io"),
        ("https://ghcr.io@evil.example/token", "ghcr.io"),
        ("https://user@ghcr.io/token", "ghcr.io"),
        ("http://ghcr.io/token", "ghcr.io"),
        ("//ghcr.io/token", "ghcr.io"),
        ("file:///etc/passwd", "ghcr.io"),
        ("", "ghcr.io"),
        ("https://auth.docker.io/token", "ghcr.io"),
    ],
)
def test_other_realms_are_refused(realm: str, registry: str) -> None:
    with pytest.raises(RealmRefused):
        check_realm(realm, registry)


def test_a_self_hosted_realm_can_be_stated() -> None:
    assert check_realm("https://gitlab.acme.example/jwt/auth", "registry.acme.example", stated=("gitlab.acme.example",))
    assert check_realm("http://registry.acme.example/token", "registry.acme.example", insecure=True)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            ['Bearer realm="https://a/t",service="s",scope="repository:x:pull"'],
            ("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull"}),
        ),
        (["bearer realm=https://a/t,service=s"], ("bearer", {"realm": "https://a/t", "service": "s"})),
        (['Basic realm="x"', 'Bearer realm="https://a/t"'], ("bearer", {"realm": "https://a/t"})),
        (['Basic realm="x", Bearer realm="https://a/t"'], ("bearer", {"realm": "https://a/t"})),
        (['BASIC realm="a \\"quoted\\" one"'], ("basic", {"realm": 'a "quoted" one'})),
        (["Negotiate", "Basic"], ("basic", {})),
        (["Digest realm=x"], None),
        ([], None),
        (["=,=,=", "\x00"], None),
        (["Bearer " + 'a="b",' * 5000], "bearer"),
    ],
)
def test_challenges(headers: list[str], expected: object) -> None:
    chosen = choose(parse_challenges(headers))
    if expected is None:
        assert chosen is None
    elif isinstance(expected, str):
        assert chosen is not None
        assert chosen.scheme == expected
    else:
        assert isinstance(expected, tuple)
        assert chosen == Challenge(*expected)


def test_a_circuit_opens_lets_one_try_and_closes() -> None:
    now = [0.0]
    circuits = Circuits(3, 10, clock=lambda: now[0])
    for _ in range(3):
        circuits.check("dead.example")
        circuits.failed("dead.example")
    with pytest.raises(UpstreamUnreachable, match="3 times in a row"):
        circuits.check("dead.example")
    circuits.check("alive.example")
    now[0] = 11
    circuits.check("dead.example")
    with pytest.raises(UpstreamUnreachable):
        circuits.check("dead.example")
    circuits.succeeded("dead.example")
    circuits.check("dead.example")

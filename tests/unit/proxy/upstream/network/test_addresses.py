"""The one table of what is never reachable, in every form in which an address can be written."""

from __future__ import annotations

import ipaddress

import pytest

from proxy.upstream.errors import AddressRefused
from proxy.upstream.network.addresses import (
    CheckedResolver,
    OwnServers,
    check_literal,
    loopback_allowed,
    private_addresses_allowed,
)
from registry_access.runtime.connections.reachable import is_allowed

NEVER = [
    "169.254.169.254",
    "192.0.0.192",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.1",
    "255.255.255.255",
    "::169.254.169.254",
    "::10.0.0.1",
    "::127.0.0.1",
    "::ffff:0:169.254.169.254",
    "64:ff9b::192.0.0.192",
    "64:ff9b:1::10.0.0.1",
    "64:ff9b:1:ffff::1",
    "2002:a9fe:a9fe::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2606:2800:220:1:0:5efe:169.254.169.254",
    "fec0::1",
    "feff::1",
    "febf::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "ff02::1",
    # Scoped, whatever the scope.
    "fd00:ec2::254%1",
    "fd12::1%eth0",
    "2606:2800:220:1::1%1",
    "::1%lo",
    # No canonical form of an address.
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "10.0.0.01",
    "\uff11\uff12\uff17.0.0.1",
]


@pytest.mark.parametrize("address", NEVER)
def test_what_is_never_reachable_is_not_by_permission_either(address: str) -> None:
    everything = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
    assert not is_allowed(address, private=False)
    assert not is_allowed(address, private=True, networks=everything)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "198.18.0.1", "240.0.0.1", "203.0.113.7", "fd12::1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1", "::1"],
)
def test_what_is_not_public_takes_permission(address: str) -> None:
    assert not is_allowed(address, private=False)
    assert is_allowed(address, private=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "2a00:1450:4001::1", "64:ff9b::8.8.8.8", "2002:808:808::1", "192.0.1.1"])
def test_what_is_public_takes_none(address: str) -> None:
    assert is_allowed(address, private=False)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"])
def test_loopback_can_be_left_out_whatever_else_is_allowed(address: str) -> None:
    everything = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
    assert is_allowed(address, private=True)
    assert not is_allowed(address, private=True, networks=everything, loopback=False)


@pytest.mark.parametrize(
    "host",
    [
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "127.1",
        "127.0.0.1.",
        "0x7f.1",
        "[::1%1]",
        "[fd00:ec2::254%1]",
        "[::ffff:169.254.169.254]",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "registry.example.1",
        "[::g]",
    ],
)
def test_a_host_that_hides_an_address_is_refused(host: str) -> None:
    with pytest.raises(AddressRefused):
        check_literal(host, private=True)


@pytest.mark.parametrize("host", ["registry.example", "1password.example", "0x7f.example", "xn--bcher-kva.example", "8.8.8.8"])
def test_names_and_public_addresses_are_not(host: str) -> None:
    check_literal(host, private=False)


async def test_a_resolver_can_be_kept_from_this_machine() -> None:
    resolver = CheckedResolver(["127.0.0.0/8"], {"inside.example": "127.0.0.1"})
    assert (await resolver.resolve("inside.example", 443))[0]["host"] == "127.0.0.1"
    before = loopback_allowed.set(False)
    with pytest.raises(AddressRefused):
        await resolver.resolve("inside.example", 443)
    loopback_allowed.reset(before)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_our_own_servers_are_never_an_upstream(address: str) -> None:
    own = OwnServers([15090, 0])
    own.check("x", address, 15091)
    own.check("x", "10.0.0.1", 15090)
    with pytest.raises(AddressRefused, match="itself listens"):
        own.check("x", address, 15090)


async def test_nor_by_a_name() -> None:
    resolver = CheckedResolver(["127.0.0.0/8"], {"inside.example": "127.0.0.1:15090"}, OwnServers([15090]))
    with pytest.raises(AddressRefused, match="itself listens"):
        await resolver.resolve("inside.example", 443)


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

"""The gate: whose connection makes room for whose."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable

import pytest

from registry_access.runtime.connections.gate import ADDRESS_FULL, ALL_FULL, DISPLACED, Gate, Slot, bucket
from registry_access.runtime.connections.limits import Limits


class Counted:
    def __init__(self) -> None:
        self.now = (0, 0)
        self.reasons: Counter[str] = Counter()

    def connections(self, strangers: int, known: int) -> None:
        self.now = (strangers, known)

    def ended(self, reason: str) -> None:
        self.reasons[reason] += 1


class House:
    """A gate with a clock of its own, and the names of those that were dropped."""

    def __init__(self, limits: Limits, *trusted: str) -> None:
        self.counted = Counted()
        self.dropped: list[str] = []
        self.time = 0.0
        self.gate = Gate(limits, self.counted, [ipaddress.ip_network(network) for network in trusted], lambda: self.time)

    def admit(self, address: str, name: str = "") -> Slot | None:
        self.time += 1
        return self.gate.admit(address, lambda: self.dropped.append(name or address))

    def known(self, address: str, client: str) -> Slot:
        slot = self.admit(address, client)
        assert slot is not None
        request(slot, client)
        self.time += 1
        return slot


def request(slot: Slot, client: str = "") -> None:
    slot.begin()
    if client:
        slot.know(client)
    slot.end()


def test_an_address_with_too_many_strangers_makes_room_for_itself() -> None:
    house = House(Limits(per_address=2))
    for address, name in [("10.0.0.1", "a"), ("10.0.0.2", "b"), ("10.0.0.1", "c"), ("10.0.0.1", "d"), ("10.0.0.1", "e")]:
        house.admit(address, name)
    assert house.dropped == ["a", "c"]
    assert house.counted.now == (3, 0)
    assert house.counted.reasons == {DISPLACED: 2}


def test_known_connections_do_not_count_against_their_address() -> None:
    """All nodes of a cluster may have one address."""
    house = House(Limits(per_address=2))
    for number in range(20):
        house.known("10.0.0.1", f"install-{number}")
    assert (house.dropped, house.counted.now) == ([], (0, 20))


def test_a_crowd_of_strangers_displaces_strangers_only() -> None:
    house = House(Limits(connections=10, per_address=0))
    busy = house.known("10.0.0.1", "busy")
    busy.begin()
    house.known("10.0.0.1", "idle")
    for number in range(100):
        assert house.admit(f"10.1.0.{number}") is not None
    assert house.dropped == [f"10.1.0.{number}" for number in range(92)]
    assert house.counted.now == (8, 2)


def test_when_everybody_is_known_the_longest_idle_makes_room_and_nobody_who_is_served() -> None:
    house = House(Limits(connections=3))
    slots = [house.known("10.0.0.1", name) for name in ("a", "b", "c")]
    slots[0].begin()
    assert house.admit("10.0.0.9", "new") is not None
    assert house.dropped == ["b"]
    slots[2].begin()
    assert house.admit("10.0.0.9", "newer") is not None
    assert house.dropped == ["b", "new"]


def test_nobody_is_admitted_when_all_are_being_served() -> None:
    house = House(Limits(connections=2))
    for name in ("a", "b"):
        house.known("10.0.0.1", name).begin()
    assert house.admit("10.0.0.9") is None
    assert (house.dropped, house.counted.reasons) == ([], {ALL_FULL: 1})


def test_one_install_cannot_keep_all_places() -> None:
    house = House(Limits(connections=6, per_client=2))
    for _ in range(6):
        house.known("10.0.0.1", "greedy").begin()
    assert house.counted.now == (4, 2)
    for number in range(3):
        assert house.admit(f"10.0.1.{number}") is not None
    assert house.dropped == ["greedy"] * 3


def test_a_connection_is_known_by_its_last_request() -> None:
    """A revoked install's connections are strangers' again, and another install's request makes them that install's."""
    house = House(Limits(per_client=1))
    slot = house.known("10.0.0.1", "first")
    request(slot, "second")
    assert house.counted.now == (0, 1)
    house.known("10.0.0.1", "first")
    assert house.counted.now == (0, 2), "the first one's place is free again"
    request(slot)
    assert house.counted.now == (1, 1)
    slot.free()
    slot.free()
    request(slot, "second")
    assert house.counted.now == (0, 1)


def test_what_is_gone_leaves_nothing_behind() -> None:
    house = House(Limits(connections=8, per_address=2, per_client=2), "10.9.0.0/16")
    for _ in range(20):
        known = house.known("10.0.0.2", "a")
        claim = house.gate.claim("1.1.1.1", known)
        assert claim is not None
        claim.end()
        for slot in [house.admit("10.0.0.1"), known, house.admit("10.9.0.1"), house.admit("::1")]:
            assert slot is not None
            slot.free()
    assert (house.counted.now, house.dropped) == ((0, 0), [])
    assert not house.counted.reasons


def test_behind_a_load_balancer_requests_count_by_the_address_that_it_forwards() -> None:
    house = House(Limits(per_address=2), "10.9.0.0/16")
    slots = [house.admit("10.9.0.1") for _ in range(10)]
    assert house.dropped == []
    slot = slots[0]
    assert slot is not None
    assert slot.trusted
    first, second = slot.claim("198.51.100.1"), slot.claim("198.51.100.1")
    assert slot.claim("198.51.100.1") is None
    assert slot.claim("198.51.100.2") is not None
    assert house.counted.reasons == {ADDRESS_FULL: 1}
    assert first is not None
    first.know("acme/1")
    first.end()
    assert slot.claim("198.51.100.1") is not None
    assert slot.claim("198.51.100.1") is None
    assert second is not None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_what_one_host_can_have_many_of_counts_as_one(address: str, expected: str) -> None:
    assert bucket(address) == expected


def test_no_limit_per_address_and_per_install() -> None:
    house = House(Limits(per_address=0, per_client=0))
    admit: Callable[[], object] = lambda: house.admit("10.0.0.1")  # noqa: E731
    for _ in range(50):
        admit()
        house.known("10.0.0.1", "one")
    assert house.dropped == []
    assert house.counted.now == (50, 50)


def test_one_workspace_cannot_keep_all_places_with_however_many_installs() -> None:
    house = House(Limits(connections=8, per_client=2))
    for number in range(8):
        house.known(f"10.0.0.{number}", f"greedy/{number}").begin()
    newcomer = house.known("10.0.1.1", "acme/shop")
    newcomer.begin()
    assert house.dropped == ["greedy/6"]
    for number in range(20):
        assert house.admit(f"10.0.2.{number}") is not None
    assert "acme/shop" not in house.dropped
    house.known("10.0.1.2", "globex/shop").begin()
    for number in range(20):
        assert house.admit(f"10.0.3.{number}") is not None
    assert not {"acme/shop", "globex/shop"} & set(house.dropped)
    assert house.counted.now == (2, 6)


def test_nor_behind_a_load_balancer() -> None:
    house = House(Limits(connections=8), "10.9.0.0/16")
    claims = []
    for number in range(8):
        slot = house.admit("10.9.0.1", f"greedy/{number}")
        assert slot is not None
        claim = slot.claim(f"198.51.100.{number}")
        assert claim is not None
        claim.begin()
        claim.know(f"greedy/{number}")
        claims.append(claim)
    assert house.admit("10.9.0.1", "acme") is not None
    assert house.dropped == ["greedy/6"]
    for claim in claims:
        claim.end()
    assert house.counted.now == (0, 8)
    assert house.admit("10.9.0.1") is not None


def test_a_workspace_with_few_connections_keeps_them_when_others_come() -> None:
    house = House(Limits(connections=8))
    house.known("10.0.0.1", "acme/shop").begin()
    for number in range(7):
        house.known("10.0.0.2", f"greedy/{number}").begin()
    for number in range(30):
        slot = house.admit(f"10.0.1.{number}", "stranger")
        assert slot is not None
        request(slot, f"other-{number}/x")
    assert "acme/shop" not in house.dropped

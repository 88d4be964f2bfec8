"""A memory that tenants share."""

from __future__ import annotations

from proxy.upstream.tenant_map import TenantMap


def test_who_holds_most_loses_the_oldest() -> None:
    known: TenantMap[int] = TenantMap(4)
    known.put(("small", "uid-1", "a"), 1)
    for number in range(100):
        known.put(("large", "uid-2", str(number)), number)
    assert known.get(("small", "uid-1", "a")) == 1
    assert known.get(("large", "uid-2", "0")) is None
    assert known.get(("large", "uid-2", "99")) == 99
    assert len(known) == 4


def test_a_credential_is_forgotten_whole() -> None:
    known: TenantMap[int] = TenantMap(10)
    known.put(("acme", "uid-1", "a"), 1)
    known.put(("acme", "uid-2", "a"), 2)
    known.put(("acme", "uid-1", "a"), 3)
    known.forget("uid-1")
    assert (known.get(("acme", "uid-1", "a")), known.get(("acme", "uid-2", "a")), len(known)) == (None, 2, 1)
    known.pop(("nobody", "x"))
    known.forget("uid-2")
    assert len(known) == 0


def test_long_entries_take_more_places() -> None:
    """Upstreams choose how long their tokens are: ten thousand long ones of one workspace would fill the memory of all."""
    known: TenantMap[str] = TenantMap(100, len)
    known.put(("small", "uid-1", "a"), "token")
    for number in range(100):
        known.put(("large", "uid-2", str(number)), "x" * 64 * 1024)
    assert known.get(("small", "uid-1", "a")) == "token"
    assert len(known) == 6
    known.put(("huge", "uid-3"), "x" * 10**6)
    assert known.get(("huge", "uid-3")) is None
    known.put(("large", "uid-2", "99"), "short")
    known.forget("uid-2")
    assert len(known) == 1

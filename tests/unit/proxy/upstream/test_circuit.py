"""When a registry is left alone: for what it does itself, and not for what one object, login or tenant meets."""

from __future__ import annotations

import pytest

from proxy.upstream.circuit import Circuits
from proxy.upstream.errors import CircuitOpen, UpstreamUnreachable

KEY = ("acme", "uid", "v1", "registry.example")
OTHERS = [
    ("globex", "uid", "v1", "registry.example"),
    ("acme", "other", "v1", "registry.example"),
    ("acme", "uid", "v2", "registry.example"),
    ("acme", "uid", "v1", "other.example"),
]


def test_it_is_open_for_one_key_and_says_until_when() -> None:
    now = [100.0]
    circuits = Circuits(2, 10, clock=lambda: now[0])
    for _ in range(2):
        circuits.check(KEY)
        circuits.failed(KEY)
    now[0] += 2.5
    with pytest.raises(CircuitOpen, match=r"registry\.example failed 2 times in a row") as caught:
        circuits.check(KEY)
    assert caught.value.retry_after == "8"
    for other in OTHERS:
        circuits.check(other)


def test_doubts_open_nothing_and_ask_for_the_registry_s_own_word() -> None:
    circuits = Circuits(3, 10)
    assert [circuits.doubted(KEY) for _ in range(5)] == [False, False, True, True, True]
    circuits.check(KEY)
    circuits.open(KEY)
    with pytest.raises(CircuitOpen):
        circuits.check(KEY)
    circuits.forget("uid")
    circuits.check(KEY)


def test_an_answer_ends_doubts() -> None:
    circuits = Circuits(2, 10)
    assert not circuits.doubted(KEY)
    circuits.succeeded(KEY)
    assert not circuits.doubted(KEY)


def test_whether_it_opened_is_said_once() -> None:
    circuits = Circuits(2, 10)
    assert [circuits.failed(KEY) for _ in range(3)] == [False, True, False]
    assert not circuits.open(KEY)
    circuits.succeeded(KEY)
    assert circuits.open(KEY)


def test_none_opens_where_that_is_switched_off() -> None:
    circuits = Circuits(0, 10)
    for _ in range(10):
        circuits.failed(KEY)
        assert not circuits.doubted(KEY)
    circuits.open(KEY)
    circuits.check(KEY)


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

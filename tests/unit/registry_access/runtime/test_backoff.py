"""Waiting longer after every failure."""

from __future__ import annotations

from registry_access.runtime.backoff import Backoff


def test_each_wait_is_about_twice_the_last_up_to_the_maximum_and_differs() -> None:
    waits = [[backoff.next() for _ in range(8)] for backoff in (Backoff(), Backoff())]
    for series in waits:
        assert all(0.25 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(series[:6]))
        assert all(8 <= wait <= 16 for wait in series[5:])
    assert waits[0] != waits[1]


def test_a_success_begins_again_and_a_server_that_asks_for_more_gets_it() -> None:
    backoff = Backoff(1, 60)
    for _ in range(5):
        backoff.next()
    assert backoff.next(at_least=300) == 300
    backoff.reset()
    assert backoff.next() <= 2

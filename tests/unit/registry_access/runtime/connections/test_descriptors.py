"""The limit of open files, and what it allows."""

from __future__ import annotations

import logging
import resource

import pytest

from registry_access.runtime.connections.descriptors import RESERVE, affordable, raise_limit


def test_the_soft_limit_is_raised_to_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 524288))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert raise_limit() == 65536
    assert asked == [(65536, 524288)]


@pytest.mark.parametrize(("limits", "expected"), [((1_000_000, 1_000_000), 1_000_000), ((4096, 4096), 4096)])
def test_a_limit_that_suffices_or_cannot_be_raised_stays(
    limits: tuple[int, int], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("nothing to raise"))
    assert raise_limit() == expected


def test_a_refused_raise_is_no_reason_not_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 2048))
    monkeypatch.setattr(resource, "setrlimit", refused)
    assert raise_limit() == 1024


def test_fewer_connections_are_accepted_than_descriptors_allow(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert affordable(4096, 2, 65536) == 4096
        assert not caplog.records
        assert affordable(4096, 2, RESERVE + 200) == 100
    assert "ulimit -n" in caplog.text
    assert affordable(4096, 2, 10) == 16

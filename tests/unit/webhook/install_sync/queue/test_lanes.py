"""Lanes: bounded each by itself, in order, nobody twice."""

from __future__ import annotations

from webhook.install_sync.queue.lanes import Lanes


def drained(lanes: Lanes) -> list[tuple[str, tuple[str, str]]]:
    return list(iter(lanes.take, None))


def test_each_lane_is_bounded_by_itself() -> None:
    lanes = Lanes(2)
    for number in range(3):
        lanes.enter("dead", ("acme", f"far-{number}"))
    lanes.enter("", ("acme", "shop"))
    begun = drained(lanes)
    assert sorted(begun) == [("", ("acme", "shop")), ("dead", ("acme", "far-0")), ("dead", ("acme", "far-1"))]
    assert lanes.waits(("acme", "far-2"))
    lanes.leave("")
    assert drained(lanes) == []
    lanes.leave("dead")
    assert drained(lanes) == [("dead", ("acme", "far-2"))]
    assert not lanes.waits(("acme", "far-2"))


def test_who_waits_already_waits_once_and_lanes_that_are_done_are_forgotten() -> None:
    lanes = Lanes(1)
    for _ in range(2):
        lanes.enter("", ("acme", "shop"))
    assert drained(lanes) == [("", ("acme", "shop"))]
    lanes.enter("", ("acme", "blog"))
    lanes.leave("")
    assert drained(lanes) == [("", ("acme", "blog"))]
    lanes.leave("")
    assert drained(lanes) == []
    assert not lanes._lanes

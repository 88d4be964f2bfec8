"""A token bucket."""

from __future__ import annotations

from registry_access.model.budget import Budget


def test_a_budget_fills_again_and_never_beyond_its_brim() -> None:
    now = [0.0]
    budget = Budget(per_second=2, at_once=3, clock=lambda: now[0])
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    now[0] = 0.5
    assert [budget.take() for _ in range(2)] == [True, False]
    now[0] = 1000
    assert [budget.take() for _ in range(4)] == [True, True, True, False]

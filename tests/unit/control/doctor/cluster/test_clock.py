"""The clocks."""

from __future__ import annotations

import pytest

from control.doctor.cluster.clock import clock_check


@pytest.mark.parametrize(
    ("offset", "finding", "says"),
    [
        (0.4, "good", "agree to within 5 s"),
        (-4.9, "good", "agree to within 5 s"),
        (7.0, "warning", "7 s ahead of this machine's"),
        (-12.0, "warning", "12 s behind this machine's"),
        (30.0, "bad", "tokens tolerate 30 s"),
        (-3600.0, "bad", "3600 s behind"),
        (None, "warning", "had no Date header"),
    ],
)
def test_the_clock(offset: float | None, finding: str, says: str) -> None:
    check = clock_check(offset, inside=False)
    assert (str(check.finding), says in check.detail) == (finding, True), check.detail

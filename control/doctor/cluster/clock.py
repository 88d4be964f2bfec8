"""Clock skew: tokens have a validity period, with a small leeway for clocks that differ."""

from __future__ import annotations

from control.doctor.finding import Check, bad, good, warning
from registry_access.model.signed_token import LEEWAY_SECONDS

_WARNING_SECONDS = 5


def clock_check(offset: float | None, *, inside: bool) -> Check:
    """`offset` is how many seconds the API server's clock is ahead of ours."""
    ours = "this pod's node" if inside else "this machine"
    if offset is None:
        return warning("clock", "the API server's response had no Date header")
    problem = f"the API server's clock is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} {ours}'s"
    if abs(offset) >= LEEWAY_SECONDS:
        return bad("clock", f"{problem}; tokens tolerate {LEEWAY_SECONDS} s; synchronize both with NTP")
    if abs(offset) >= _WARNING_SECONDS:
        return warning("clock", f"{problem}; synchronize both with NTP; tokens tolerate {LEEWAY_SECONDS} s")
    return good("clock", f"{ours} and the API server agree to within {_WARNING_SECONDS} s")

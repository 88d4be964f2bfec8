"""The clocks: tokens have a beginning and an end, and a leeway for clocks that differ."""

from __future__ import annotations

from control.doctor.finding import Check, bad, good, warning
from registry_access.model.signed_token import LEEWAY_SECONDS

_WARNING_SECONDS = 5


def clock_check(offset: float | None, *, inside: bool) -> Check:
    """`offset`: seconds by which the API server's clock is ahead of ours."""
    ours = "this pod's node" if inside else "this machine"
    if offset is None:
        return warning("clock", "the API server did not say what time it is")
    told = f"the API server's clock is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} {ours}'s"
    if abs(offset) >= LEEWAY_SECONDS:
        return bad("clock", f"{told}; tokens tolerate {LEEWAY_SECONDS} s: keep both by NTP")
    if abs(offset) >= _WARNING_SECONDS:
        return warning("clock", f"{told}; keep both by NTP, tokens tolerate {LEEWAY_SECONDS} s")
    return good("clock", f"{ours} and the API server agree to {_WARNING_SECONDS} s")

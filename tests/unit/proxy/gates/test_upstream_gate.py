"""Which failures of an upstream are "not now", and which are silence."""

from __future__ import annotations

import pytest

from proxy.gates.upstream_gate import answer_status, judge_error
from proxy.upstream.errors import (
    AddressRefused,
    CertificateRefused,
    CircuitOpen,
    LoginFailed,
    LoginUnavailable,
    RateLimited,
    UpstreamMisbehaved,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from registry_access.model.decision import Reason
from registry_access.model.errors import UpstreamError


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (UpstreamTimeout("x"), 504, Reason.UPSTREAM_UNREACHABLE),
        (UpstreamTimeout("x", connecting=True), 504, Reason.UPSTREAM_UNREACHABLE),
        (CircuitOpen("x", "9"), 503, Reason.UPSTREAM_UNREACHABLE),
        (LoginUnavailable("x", 500), 0, Reason.UPSTREAM_UNREACHABLE),
        (LoginUnavailable("x", 502, "9"), 503, Reason.UPSTREAM_UNREACHABLE),
        (LoginUnavailable("x", 503), 503, Reason.UPSTREAM_UNREACHABLE),
        (LoginUnavailable("x", 504), 504, Reason.UPSTREAM_UNREACHABLE),
        (UpstreamUnreachable("x"), 0, Reason.UPSTREAM_UNREACHABLE),
        (AddressRefused("x"), 0, Reason.UPSTREAM_UNREACHABLE),
        (CertificateRefused("x"), 0, Reason.UPSTREAM_UNREACHABLE),
        (LoginFailed("x", 401), 0, Reason.UPSTREAM_UNAUTHORIZED),
        (RateLimited("x", "9"), 0, Reason.UPSTREAM_RATE_LIMITED),
        (UpstreamMisbehaved("x"), 0, Reason.UPSTREAM_FAILED),
    ],
)
def test_what_a_failure_is_answered_with(error: UpstreamError, status: int, reason: Reason) -> None:
    assert answer_status(error) == status
    assert judge_error(error, "ghcr.io").reason is reason

"""Gate 8: what an upstream's answer, or its absence, means. Its refusals are told apart from ours."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.pull.streaming import CorruptBody
from proxy.upstream.errors import LoginFailed, RateLimited, UpstreamTimeout, UpstreamTruncated, UpstreamUnreachable
from registry_access.model.decision import Gate, GateResult, Reason
from registry_access.model.errors import UpstreamError


def judge_status(status: int, registry: str, credential: str, asked: Mapping[str, str]) -> GateResult | None:
    """None when the answer is one to pass on: 200, or what the headers that were `asked` with allow.

    A 206 that nobody asked for would be a blob without a check of its digest.
    """
    ranged, conditional = "Range" in asked, "If-None-Match" in asked or "If-Modified-Since" in asked
    if status == 200 or (ranged and status in (206, 416)) or (conditional and status == 304):
        return None
    if status == 401:
        return _refused(Reason.UPSTREAM_UNAUTHORIZED, f"{registry} did not accept credential {credential}")
    if status == 403:
        return _refused(
            Reason.UPSTREAM_DENIED, f"{registry} denies this to credential {credential}; does its token lack a scope?"
        )
    if status == 404:
        return _refused(Reason.UPSTREAM_NOT_FOUND, f"{registry} has no such content, or hides it from credential {credential}")
    if status == 429:
        return _refused(Reason.UPSTREAM_RATE_LIMITED, f"{registry} limits the rate of credential {credential}")
    return _refused(Reason.UPSTREAM_FAILED, f"{registry} answered {status}")


def judge_error(error: UpstreamError, registry: str) -> GateResult:
    """The refusal for an upstream that gave no answer to pass on."""
    if isinstance(error, RateLimited):
        return _refused(Reason.UPSTREAM_RATE_LIMITED, str(error))
    if isinstance(error, LoginFailed):
        return _refused(Reason.UPSTREAM_UNAUTHORIZED, str(error))
    if isinstance(error, CorruptBody):
        return _refused(Reason.UPSTREAM_CORRUPT, str(error))
    if isinstance(error, UpstreamTruncated):
        return _refused(Reason.UPSTREAM_TRUNCATED, str(error))
    if isinstance(error, UpstreamUnreachable | UpstreamTimeout):
        return _refused(Reason.UPSTREAM_UNREACHABLE, str(error))
    return _refused(Reason.UPSTREAM_FAILED, f"{registry}: {error}")


def _refused(reason: Reason, detail: str) -> GateResult:
    return GateResult(Gate.UPSTREAM, reason, detail)

"""Gate 8: what an upstream's answer, or its absence, means. Its refusals are kept apart from ours."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from proxy.pull.streaming import CorruptBody
from proxy.pull.upstream_words import UpstreamWords
from proxy.upstream.errors import (
    CircuitOpen,
    LoginFailed,
    LoginUnavailable,
    RateLimited,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from registry_access.model.decision import Gate, GateResult, Reason
from registry_access.model.errors import UpstreamError

_REASONS: Mapping[int, Reason] = {
    401: Reason.UPSTREAM_UNAUTHORIZED,
    403: Reason.UPSTREAM_DENIED,
    404: Reason.UPSTREAM_NOT_FOUND,
    429: Reason.UPSTREAM_RATE_LIMITED,
}


def judge_status(
    status: int, registry: str, credential: str, asked: Mapping[str, str], words: UpstreamWords | None = None
) -> GateResult | None:
    """None when the answer is one to pass on: 200, or what the headers that were `asked` with allow. `words` are its own.

    A 206 that nobody asked for would be a blob without a check of its digest.
    """
    if passes(status, asked):
        return None
    refused = 400 <= status < 500 and status != 416  # an answer to a Range that was not asked for is nonsense
    reason = _REASONS.get(status) or (Reason.UPSTREAM_REFUSED if refused else Reason.UPSTREAM_FAILED)
    if status == 401:
        sentence = f"{registry} does not accept credential {credential}"
    elif status == 403:
        sentence = f"{registry} denies this to credential {credential}; does its token lack a scope?"
    elif status == 404:
        sentence = f"{registry} does not have this, or hides it from credential {credential}"
    elif status == 429:
        sentence = f"{registry} is rate-limiting credential {credential}"
    else:
        sentence = f"{registry} answered {status}{_phrase(status)}"
    return _refused(reason, words.after(sentence, registry) if words else sentence)


def passes(status: int, asked: Mapping[str, str]) -> bool:
    """Whether an answer of this status is passed on as it is."""
    ranged, conditional = "Range" in asked, "If-None-Match" in asked or "If-Modified-Since" in asked
    return status == 200 or (ranged and status in (206, 416)) or (conditional and status == 304)


def judge_error(error: UpstreamError, registry: str) -> GateResult:
    """The refusal for an upstream that gave no answer to pass on."""
    if isinstance(error, RateLimited):
        return _refused(Reason.UPSTREAM_RATE_LIMITED, str(error))
    if isinstance(error, LoginUnavailable):
        return _refused(Reason.UPSTREAM_UNREACHABLE, str(error))
    if isinstance(error, LoginFailed):
        return _refused(Reason.UPSTREAM_UNAUTHORIZED, str(error))
    if isinstance(error, CorruptBody):
        return _refused(Reason.UPSTREAM_CORRUPT, str(error))
    if isinstance(error, UpstreamTruncated):
        return _refused(Reason.UPSTREAM_TRUNCATED, str(error))
    if isinstance(error, UpstreamUnreachable | UpstreamTimeout):
        return _refused(Reason.UPSTREAM_UNREACHABLE, str(error))
    return _refused(Reason.UPSTREAM_FAILED, f"{registry}: {error}")


def answer_status(error: UpstreamError) -> int:
    """504 for a timeout, 503 for "not now" (RFC 9110 section 15.6), 0 for the status that the reason has."""
    if isinstance(error, UpstreamTimeout) or (isinstance(error, LoginUnavailable) and error.status == HTTPStatus.GATEWAY_TIMEOUT):
        return HTTPStatus.GATEWAY_TIMEOUT
    if isinstance(error, CircuitOpen) or (
        isinstance(error, LoginUnavailable) and (error.retry_after or error.status == HTTPStatus.SERVICE_UNAVAILABLE)
    ):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return 0


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _refused(reason: Reason, detail: str) -> GateResult:
    return GateResult(Gate.UPSTREAM, reason, detail)

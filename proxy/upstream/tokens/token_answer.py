"""The answer of a token service: JSON of bounded size, an access token and how long it lives."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from proxy.upstream.errors import LoginFailed, LoginUnavailable, RateLimited, UpstreamMisbehaved, UpstreamTruncated
from proxy.upstream.network.content_coding import decoded
from proxy.upstream.network.response import UpstreamResponse
from proxy.upstream.quotation import quotable

ANSWER_MAXIMUM = 64 * 1024
DEFAULT_LIFETIME = 60.0  # distribution token specification: expires_in defaults to 60


async def read_answer(response: UpstreamResponse, whom: str, *, secrets: Iterable[str] = ()) -> dict[str, Any]:
    """The JSON object of a 200. Raises LoginFailed, LoginUnavailable for a 5xx, or RateLimited, with what `whom` said in bounded
    printable words, unless these repeat one of `secrets`.
    """
    try:
        body = await response.read(ANSWER_MAXIMUM)
    finally:
        response.close()
    retry_after = response.headers.get("Retry-After", "")
    if response.status == 429:
        raise RateLimited(f"{whom} limits the rate of logins", retry_after)
    try:
        answer = json.loads(decoded(body, response.headers.get("Content-Encoding", ""), ANSWER_MAXIMUM))
    except (ValueError, RecursionError, UpstreamMisbehaved, UpstreamTruncated):
        answer = None
    if response.status >= 500:
        raise LoginUnavailable(f"{whom} answered {response.status}{_words(answer, secrets)}", response.status, retry_after)
    if response.status != 200:
        raise LoginFailed(f"{whom} answered {response.status}{_words(answer, secrets)}", response.status)
    if not isinstance(answer, dict):
        raise LoginFailed(f"{whom} did not answer with a JSON object", response.status)
    return answer


def access_token(answer: dict[str, Any], whom: str, *, default_lifetime: float = DEFAULT_LIFETIME) -> tuple[str, float]:
    """Token and lifetime in seconds. Raises LoginFailed."""
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise LoginFailed(f"{whom} answered without a token")
    lifetime = answer.get("expires_in", default_lifetime)
    valid = isinstance(lifetime, int | float) and not isinstance(lifetime, bool) and 0 < lifetime < 10**9
    return token, float(lifetime) if valid else default_lifetime


def _words(answer: object, secrets: Iterable[str]) -> str:
    """What an error answer says: `errors[].message` of the registry protocol, or `details`, `error_description`, `message`."""
    said: object = None
    if isinstance(answer, dict):
        errors = answer.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            said = errors[0].get("message")
        said = said or answer.get("error_description") or answer.get("details") or answer.get("message")
    words = quotable(said, secrets) if isinstance(said, str) else ""
    return f": {words}" if words else ""

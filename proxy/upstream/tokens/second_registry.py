"""A redirect to another registry (as registry.k8s.io's, or a mirror's), which asks for a login of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from proxy.upstream.network.response import UpstreamResponse
from proxy.upstream.tokens.challenge import Challenge, choose, parse_challenges

_REPOSITORY = re.compile(r"/v2/(.+)/(?:manifests|blobs|referrers|tags)/[^/]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class SecondRegistry:
    """`registry` (host[:port]) was named by a redirect; it asks by `challenge` for a token to pull what `scope` says."""

    registry: str
    challenge: Challenge
    scope: str


def second_registry(response: UpstreamResponse) -> SecondRegistry | None:
    """What the redirected `response` asks for, or None when it refuses in another way, as storage does.

    The scope is pulling the repository in the redirect's URL, whatever the challenge says: a token for more is nobody's business.
    """
    if response.status != 401:
        return None
    challenge = choose(parse_challenges(response.headers.getall("WWW-Authenticate", [])))
    parts = urlsplit(response.url)
    named = _REPOSITORY.fullmatch(parts.path)
    if challenge is None or challenge.scheme != "bearer" or named is None:
        return None
    return SecondRegistry(parts.netloc, challenge, f"repository:{named[1]}:pull")

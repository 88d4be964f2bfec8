"""A redirect to another registry (as registry.k8s.io's, or a mirror's), which asks for a login of its own."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from proxy.upstream.challenge import choose, parse_challenges
from proxy.upstream.connection import Connections
from proxy.upstream.errors import RealmRefused
from proxy.upstream.logins.identity import BearerToken, Identity
from proxy.upstream.response import UpstreamResponse
from proxy.upstream.settings import Access
from proxy.upstream.token_service import fetch_token

_REPOSITORY = re.compile(r"/v2/(.+)/(?:manifests|blobs|referrers|tags)/[^/]+", re.ASCII)


async def token_for_redirect(
    connections: Connections, registry: str, response: UpstreamResponse, own: Identity, access: Access
) -> BearerToken | None:
    """A token for what the redirected `response` refused, or None when it asks for none that we could get.

    The credential goes to token services only that `realmHosts` states, never to one that merely is the redirect's own; and the
    token is for pulling the repository in the redirect's URL. Raises RealmRefused for a token service that is not stated.
    """
    challenge = choose(parse_challenges(response.headers.getall("WWW-Authenticate", []))) if response.status == 401 else None
    parts = urlsplit(response.url)
    named = _REPOSITORY.fullmatch(parts.path)
    if challenge is None or challenge.scheme != "bearer" or named is None or isinstance(own, BearerToken):
        return None
    try:
        return await fetch_token(
            connections, parts.netloc, challenge, f"repository:{named[1]}:pull", own, access, stated_only=bool(own.header)
        )
    except RealmRefused as error:
        response.close()
        raise RealmRefused(f"{registry} redirects to another registry: {error}") from None

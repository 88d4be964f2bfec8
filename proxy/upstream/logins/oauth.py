"""OAuth 2.0 clients (RFC 6749): client credentials (section 4.4) or a refresh token (section 6) for an access token."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from proxy.upstream.errors import RealmRefused
from proxy.upstream.logins.identity import BearerToken, Identity
from proxy.upstream.network.connection import Connections, Follow
from proxy.upstream.settings import ConnectionPolicy
from proxy.upstream.tokens.token_answer import access_token, read_answer


class OAuthLogin:
    """The token URL stands in the secret, so it is the workspace's own word; it must be https all the same."""

    def __init__(self, connections: Connections, values: Mapping[str, str], access: ConnectionPolicy) -> None:
        self._connections = connections
        self._values = values
        self._access = access
        self._refresh_token = values.get("refresh_token", "")

    async def identity(self) -> Identity:
        return await self.token()

    async def token(self, scope: str = "") -> BearerToken:
        values, url = self._values, self._values["token_url"]
        parts = urlsplit(url)
        if parts.scheme != "https" and not (self._access.insecure and parts.scheme == "http"):
            raise RealmRefused("the token URL in the secret is not an https URL")
        form = {"client_id": values["client_id"]}
        if values.get("client_secret"):
            form["client_secret"] = values["client_secret"]
        if self._refresh_token:
            form |= {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        else:
            form["grant_type"] = "client_credentials"
        if wanted := scope or values.get("scopes", ""):
            form["scope"] = wanted
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        response = await self._connections.request(
            "POST", url, headers=headers, access=self._access, data=urlencode(form).encode(), follow=Follow.WITHIN
        )
        whom = f"the token service at {parts.hostname}"
        secrets = tuple(filter(None, (values.get("client_secret"), values.get("refresh_token"), self._refresh_token)))
        answer = await read_answer(response, whom, secrets=secrets)
        # RFC 6749 section 6: a new refresh token replaces the one that was used.
        if isinstance(renewed := answer.get("refresh_token"), str) and self._refresh_token:
            self._refresh_token = renewed
        return BearerToken(*access_token(answer, whom, default_lifetime=300.0))

"""Azure Container Registry with an Entra ID service principal, by OAuth exchange.

Microsoft identity platform token -> POST /oauth2/exchange -> an ACR refresh token (3 hours), which the registry's own token
service takes as password of the null GUID user (Azure/acr, "AAD-OAuth.md"). Admin users and plain service principals are Basic.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from proxy.upstream.errors import LoginFailed
from proxy.upstream.logins.identity import Identity, UserPassword
from proxy.upstream.logins.oauth import OAuthLogin
from proxy.upstream.network.connection import Connections, Follow
from proxy.upstream.settings import ConnectionPolicy
from proxy.upstream.target import base_url
from proxy.upstream.tokens.token_answer import read_answer

NULL_GUID = "00000000-0000-0000-0000-000000000000"
_SCOPE = "https://containerregistry.azure.net/.default"
_REFRESH_LIFETIME = 3 * 3600.0


class AzureLogin:
    """`token_url` is ``https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token``."""

    def __init__(self, connections: Connections, registry: str, values: Mapping[str, str], access: ConnectionPolicy) -> None:
        self._connections = connections
        self._registry = registry
        self._values = values
        self._access = access
        self._entra = OAuthLogin(connections, values, access)

    async def identity(self) -> Identity:
        entra = await self._entra.token(self._values.get("scopes") or _SCOPE)
        parts = urlsplit(base_url(self._registry, insecure=self._access.insecure))
        form = {"grant_type": "access_token", "service": self._registry, "access_token": entra.token}
        if tenant := self._values.get("tenant") or _tenant(self._values["token_url"]):
            form["tenant"] = tenant
        response = await self._connections.request(
            "POST",
            f"{parts.scheme}://{parts.netloc}/oauth2/exchange",
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            access=self._access,
            data=urlencode(form).encode(),
            follow=Follow.WITHIN,
        )
        answer = await read_answer(response, f"the token exchange of {self._registry}", secrets=entra.secrets)
        refresh = answer.get("refresh_token")
        if not isinstance(refresh, str) or not refresh:
            raise LoginFailed(f"the token exchange of {self._registry} answered without a refresh token")
        return UserPassword(NULL_GUID, refresh, _REFRESH_LIFETIME)


def _tenant(token_url: str) -> str:
    return urlsplit(token_url).path.strip("/").partition("/")[0]

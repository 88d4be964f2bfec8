"""Identities that stand in the secret: a user name and password, or a token that registries take as password."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.upstream.logins.identity import Anonymous, BearerToken, Identity, UserPassword

# The user name that goes with a bare token; any non-empty one will do where none is listed.
_TOKEN_USERS = {
    "quay.io": "$oauthtoken",
    "registry.gitlab.com": "oauth2",
    "gcr.io": "oauth2accesstoken",
}
_ANY_USER = "token"


class AnonymousLogin:
    """No credential."""

    async def identity(self) -> Identity:
        return Anonymous()


class BasicLogin:
    """User name and password: Docker Hub, GitLab deploy tokens, Quay robots, Google's `_json_key`, Harbor, any registry."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._identity = UserPassword(values["username"], values["password"])

    async def identity(self) -> Identity:
        return self._identity


class TokenLogin:
    """A token as password: GHCR takes a PAT only that way, a raw PAT as Bearer fails."""

    def __init__(self, registry: str, values: Mapping[str, str]) -> None:
        user = values.get("username") or _TOKEN_USERS.get(registry)
        if not user and registry.endswith((".pkg.dev", ".gcr.io")):
            user = _TOKEN_USERS["gcr.io"]
        self._identity = UserPassword(user or _ANY_USER, values["token"].strip())

    async def identity(self) -> Identity:
        return self._identity


class BearerLogin:
    """A token that the registry takes as it is, with no token service between."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._identity = BearerToken(values["token"].strip())

    async def identity(self) -> Identity:
        return self._identity

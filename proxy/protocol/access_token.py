"""The access token: short-lived, given by the token endpoint to a registry client for some scopes.

It carries the install token's identity, so everything that is asked of an install token is asked of it again on each pull.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from proxy.protocol.scope import Scope
from registry_access.model.errors import InvalidToken
from registry_access.model.install_token import InstallTokenClaims, install_claims, install_payload
from registry_access.model.signed_token import TokenKind, sign_token, text_claim, verify_token
from registry_access.model.signing_key import SigningKey, VerificationKeys

ACCESS_TOKEN = TokenKind("akua-access+jwt", "registry.akua.dev/proxy", 3600)


@dataclass(frozen=True, slots=True)
class AccessTokenClaims:
    """`install` holds the claims of this token's own life (id, times) and the install's identity."""

    install: InstallTokenClaims
    install_token_id: str
    scopes: tuple[Scope, ...]


def mint_access_token(claims: AccessTokenClaims, key: SigningKey) -> str:
    access = [{"type": scope.type, "name": scope.name, "actions": sorted(scope.actions)} for scope in claims.scopes]
    return sign_token(ACCESS_TOKEN, key, {**install_payload(claims.install), "parent": claims.install_token_id, "access": access})


def verify_access_token(token: str, keys: VerificationKeys, *, audience: str, now: float) -> AccessTokenClaims:
    """The claims of a good access token. Raises InvalidToken (reasons: see `verify_token`)."""
    payload = verify_token(ACCESS_TOKEN, token, keys, audience=audience, now=now)
    access = payload.get("access")
    if not isinstance(access, list):
        raise InvalidToken("claims")
    return AccessTokenClaims(install_claims(payload), text_claim(payload, "parent"), tuple(_scope(entry) for entry in access))


def _scope(entry: Any) -> Scope:
    match entry:
        case {"type": str(kind), "name": str(name), "actions": list(actions)} if all(isinstance(a, str) for a in actions):
            return Scope(kind, name, frozenset(actions))
        case _:
            raise InvalidToken("claims")

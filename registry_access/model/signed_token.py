"""Signed tokens: one way to sign and one strict way to verify, for install tokens and access tokens alike.

RFC 7519 (JWT), RFC 8725 (JWT best current practices). The algorithm is fixed, keys are local, every claim is required and
type-checked here because PyJWT leaves most of that to its caller: it accepts duplicate claims, a padded signature, and raises
bare TypeError and UnicodeEncodeError on some inputs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from registry_access.model.errors import InvalidToken
from registry_access.model.signing_key import ALGORITHM, SigningKey, VerificationKeys

TOKEN_MAXIMUM = 8192  # characters
LEEWAY_SECONDS = 30
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
_HEADER = frozenset({"alg", "kid", "typ"})


@dataclass(frozen=True, slots=True)
class TokenKind:
    """What tells one kind of token from another, so that neither passes for the other."""

    type: str  # the `typ` header
    issuer: str
    maximum_lifetime: int  # seconds


def sign_token(kind: TokenKind, key: SigningKey, claims: Mapping[str, object]) -> str:
    """A compact JWS of `claims` plus the issuer. `claims` must hold everything `verify_token` asks for."""
    payload = {"iss": kind.issuer, **claims}
    return jwt.encode(payload, key.private, algorithm=ALGORITHM, headers={"typ": kind.type, "kid": key.key_id})


def verify_token(kind: TokenKind, token: str, keys: VerificationKeys, *, audience: str, now: float) -> dict[str, Any]:
    """The claims of a token that verifies at `now` (epoch seconds).

    Raises InvalidToken, whose reason is one of: malformed, type, unknown-key, signature, claims, issuer, audience,
    not-yet-valid, lifetime, expired.
    """
    if len(token) > TOKEN_MAXIMUM or not _COMPACT.fullmatch(token):
        raise InvalidToken("malformed")
    header = _object(token.split(".")[0], "malformed")
    # No `crit`, `jwk`, `jku`, `x5u`: a header may hold exactly what we write into it.
    if header.keys() != _HEADER or header["alg"] != ALGORITHM or header["typ"] != kind.type:
        raise InvalidToken("type")
    key = keys.by_id.get(header["kid"]) if isinstance(header["kid"], str) else None
    if key is None:
        raise InvalidToken("unknown-key")
    claims = _object(token.split(".")[1], "claims")
    try:
        jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            options={
                "verify_signature": True,
                "verify_exp": False,  # below, against `now`
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
                "verify_iss": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except (jwt.InvalidTokenError, TypeError, ValueError) as error:
        raise InvalidToken("signature") from error
    _check(kind, claims, audience=audience, now=now)
    return claims


def _check(kind: TokenKind, claims: dict[str, Any], *, audience: str, now: float) -> None:
    if claims.get("iss") != kind.issuer:
        raise InvalidToken("issuer")
    if claims.get("aud") != audience:
        raise InvalidToken("audience")
    issued, expires, token_id = (claims.get(name) for name in ("iat", "exp", "jti"))
    # bool is an int in Python; `true` is no time.
    if type(issued) is not int or type(expires) is not int or not isinstance(token_id, str) or not _ID.fullmatch(token_id):
        raise InvalidToken("claims")
    if not 0 < expires - issued <= kind.maximum_lifetime:
        raise InvalidToken("lifetime")
    if issued > now + LEEWAY_SECONDS:
        raise InvalidToken("not-yet-valid")
    if expires <= now - LEEWAY_SECONDS:
        raise InvalidToken("expired")


def text_claim(claims: Mapping[str, Any], name: str) -> str:
    """A claim that must be a non-empty printable ASCII string of at most 1024. Raises InvalidToken("claims")."""
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 1024 or not (value.isascii() and value.isprintable()):
        raise InvalidToken("claims")
    return value


def integer_claim(claims: Mapping[str, Any], name: str) -> int:
    """A claim that must be a non-negative integer. Raises InvalidToken("claims")."""
    value = claims.get(name)
    if type(value) is not int or value < 0:
        raise InvalidToken("claims")
    return value


def _object(part: str, reason: str) -> dict[str, Any]:
    try:
        decoded = json.loads(jwt.utils.base64url_decode(part), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise InvalidToken(reason) from error
    if not isinstance(decoded, dict):
        raise InvalidToken(reason)
    return decoded


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated")
    return found

"""The install token: long-lived, rotated, in the pull Secret of a target namespace; opens only the proxy.

It binds the install's UID and token generation, so a token of an install that was deleted and created again, or whose
generation has changed, is refused although its signature is valid.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry_access.model.errors import InvalidToken
from registry_access.model.install_identity import InstallIdentity
from registry_access.model.signed_token import TokenKind, integer_claim, sign_token, text_claim, verify_token
from registry_access.model.signing_key import SigningKey, VerificationKeys

DAY = 86_400
INSTALL_TOKEN = TokenKind("akua-install+jwt", "registry.akua.dev/install-sync", 400 * DAY)


@dataclass(frozen=True, slots=True)
class InstallTokenClaims:
    """Verified (or about to be signed) claims. Times are epoch seconds; `audience` is the proxy's host."""

    identity: InstallIdentity
    token_id: str
    issued_at: int
    expires_at: int
    audience: str


def mint_install_token(claims: InstallTokenClaims, key: SigningKey) -> str:
    """The token as it goes into the pull Secret."""
    return sign_token(INSTALL_TOKEN, key, install_payload(claims))


def verify_install_token(token: str, keys: VerificationKeys, *, audience: str, now: float) -> InstallTokenClaims:
    """The claims of a good install token. Raises InvalidToken (reasons: see `verify_token`)."""
    payload = verify_token(INSTALL_TOKEN, token, keys, audience=audience, now=now)
    return install_claims(payload)


def install_payload(claims: InstallTokenClaims) -> dict[str, object]:
    """The claims as JSON members, without the issuer."""
    return {
        "sub": f"install:{claims.identity.workspace}/{claims.identity.install}",
        "aud": claims.audience,
        "iat": claims.issued_at,
        "exp": claims.expires_at,
        "jti": claims.token_id,
        "uid": claims.identity.uid,
        "gen": claims.identity.generation,
    }


def install_claims(payload: dict[str, object]) -> InstallTokenClaims:
    """The inverse of `install_payload` on a verified payload. Raises InvalidToken("claims")."""
    prefix, _, subject = text_claim(payload, "sub").partition(":")
    workspace, _, install = subject.partition("/")
    if prefix != "install" or not workspace or not install or "/" in install:
        raise InvalidToken("claims")
    return InstallTokenClaims(
        InstallIdentity(workspace, install, text_claim(payload, "uid"), integer_claim(payload, "gen")),
        token_id=text_claim(payload, "jti"),
        issued_at=integer_claim(payload, "iat"),
        expires_at=integer_claim(payload, "exp"),
        audience=text_claim(payload, "aud"),
    )

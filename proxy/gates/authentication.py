"""Who asks: the Authorization header, Basic or Bearer, holding an install token or an access token (gate 2)."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Scope as AsgiScope

from proxy.protocol.access_token import verify_access_token
from proxy.protocol.scope import Scope
from registry_access.model.decision import Gate, GateResult, Reason
from registry_access.model.errors import InvalidToken
from registry_access.model.install_identity import InstallIdentity
from registry_access.model.install_token import InstallTokenClaims, verify_install_token
from registry_access.model.signed_token import LEEWAY_SECONDS
from registry_access.model.signing_key import VerificationKeys

_CACHE_MAXIMUM = 20_000
_HEADER_MAXIMUM = 12 * 1024


@dataclass(frozen=True, slots=True)
class Subject:
    """A verified token's holder. `scopes` is None for an install token, which opens whatever the install is entitled to."""

    identity: InstallIdentity
    token_id: str
    expires_at: int
    scopes: tuple[Scope, ...] | None

    def opens(self, name: str) -> bool:
        """Whether the token's own scopes let it pull `name` (the name in the client's path)."""
        return self.scopes is None or any(scope.pulls(name) for scope in self.scopes)


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """The public keys now accepted for each kind of token."""

    install: VerificationKeys
    access: VerificationKeys


class Authenticator:
    """`keys` is asked on every request, so a rotated key counts at once. Verified tokens are remembered, never past their end.

    Remembering by the whole token is safe because nothing is ever revoked by it: revocation is by install, UID and generation.
    """

    def __init__(self, keys: Callable[[], TokenKeys], audience: str, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._audience = audience
        self._clock = clock
        self._verified: OrderedDict[str, Subject] = OrderedDict()
        self._verified_with: TokenKeys | None = None

    def authenticate(self, header: str | None) -> Subject | GateResult:
        """The subject, or the token gate's refusal."""
        if header is None:
            return GateResult(Gate.TOKEN, Reason.TOKEN_MISSING, "a token is needed; log in with an install token")
        token = token_of(header)
        if token is None:
            return GateResult(Gate.TOKEN, Reason.TOKEN_INVALID, "the Authorization header is neither Basic nor Bearer")
        return self.verify(token)

    def verify(self, token: str, *, install_only: bool = False) -> Subject | GateResult:
        """The subject of a token. `install_only`: an access token will not do (the token endpoint)."""
        keys, now = self._keys(), self._clock()
        if keys is not self._verified_with:
            self._verified.clear()
            self._verified_with = keys
        subject = self._verified.get(token)
        if subject is None or now > subject.expires_at + LEEWAY_SECONDS:
            try:
                subject = self._verify(token, keys, now)
            except InvalidToken as error:
                reason = Reason.TOKEN_EXPIRED if error.reason == "expired" else Reason.TOKEN_INVALID
                detail = "the token has expired" if reason is Reason.TOKEN_EXPIRED else f"the token is not valid ({error.reason})"
                return GateResult(Gate.TOKEN, reason, detail)
            self._verified[token] = subject
            if len(self._verified) > _CACHE_MAXIMUM:
                self._verified.popitem(last=False)
        if install_only and subject.scopes is not None:
            return GateResult(Gate.TOKEN, Reason.TOKEN_INVALID, "an access token gives no further tokens; use the install token")
        return subject

    def _verify(self, token: str, keys: TokenKeys, now: float) -> Subject:
        try:
            return _subject(verify_install_token(token, keys.install, audience=self._audience, now=now), None)
        except InvalidToken as error:
            if error.reason != "type":
                raise
        claims = verify_access_token(token, keys.access, audience=self._audience, now=now)
        return _subject(claims.install, claims.scopes)


def authorization_header(scope: AsgiScope) -> str | None:
    """The request's Authorization header, None when there is none. Several are joined, and as such refused."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
    return ", ".join(values) if values else None


def token_of(header: str) -> str | None:
    """The token in an Authorization header: the password of Basic (RFC 7617), or Bearer's (RFC 6750); None when there is none."""
    scheme, _, value = header.strip().partition(" ")
    if len(header) > _HEADER_MAXIMUM or not value.strip():
        return None
    return value.strip() if scheme.lower() == "bearer" else basic_password(header)


def basic_password(header: str) -> str | None:
    """The password of a Basic header with a user name and a password, else None."""
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() != "basic" or len(header) > _HEADER_MAXIMUM:
        return None
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except ValueError:  # binascii.Error and UnicodeDecodeError are ones
        return None
    return password if user and password else None


def _subject(claims: InstallTokenClaims, scopes: tuple[Scope, ...] | None) -> Subject:
    return Subject(claims.identity, claims.token_id, claims.expires_at, scopes)

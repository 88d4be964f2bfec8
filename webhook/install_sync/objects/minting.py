"""Install tokens: one per install, the same in every target, replaced only for a reason.

One token per install keeps the pull Secrets of all targets equal, so a pull from any of them is the same install's. The audit
trail tells targets apart by the node that pulls. The token in a pull Secret is kept as long as it is this install's, of
the current generation and a current key, and less than two thirds of its life are over: then it is replaced, and the old one
stays good until it expires.
"""

from __future__ import annotations

import base64
import json
import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from registry_access.model.errors import InvalidToken
from registry_access.model.install_token import InstallTokenClaims, mint_install_token, verify_install_token
from registry_access.model.resources import Install, Secret
from registry_access.state.signing_keys import SigningKeys

DOCKER_CONFIG_KEY = ".dockerconfigjson"
DOCKER_CONFIG_TYPE = "kubernetes.io/dockerconfigjson"
_RENEW_AT = 2 / 3


@dataclass(frozen=True, slots=True)
class InstallToken:
    """A token and what it claims."""

    claims: InstallTokenClaims
    token: str = field(repr=False)
    fresh: bool = False

    @property
    def expires(self) -> datetime:
        return datetime.fromtimestamp(self.claims.expires_at, UTC)

    @property
    def renew_at(self) -> float:
        """Epoch second from which it is replaced."""
        return self.claims.issued_at + (self.claims.expires_at - self.claims.issued_at) * _RENEW_AT


@dataclass(frozen=True, slots=True)
class Minting:
    """How tokens are made: for which host, for how long (seconds)."""

    host: str
    lifetime: float

    def token_for(self, install: Install, keys: SigningKeys, present: Iterable[str], now: float) -> InstallToken:
        """The newest of the `present` tokens that will do; else a new one.

        The newest, so that two syncs which both minted one (a change of leader) settle on the same.
        """
        usable = [found for token in present if (found := self._usable(token, install, keys, now))]
        if not usable:
            return self.mint(install, keys, now)
        return max(usable, key=lambda found: (found.claims.issued_at, found.claims.token_id))

    def mint(self, install: Install, keys: SigningKeys, now: float) -> InstallToken:
        """A new token. An install's own `expiresAt` is asked at every pull, so it need not shorten its tokens."""
        claims = InstallTokenClaims(
            install.identity,
            token_id="tok_" + secrets.token_hex(12),
            issued_at=int(now),
            expires_at=int(now + self.lifetime),
            audience=self.host,
        )
        return InstallToken(claims, mint_install_token(claims, keys.active(now)), fresh=True)

    def _usable(self, token: str, install: Install, keys: SigningKeys, now: float) -> InstallToken | None:
        try:
            claims = verify_install_token(token, keys.verification(), audience=self.host, now=now)
        except InvalidToken:
            return None
        found = InstallToken(claims, token)
        # One that was minted when a longer lifetime was set is replaced: keys are retired by the lifetime that is set now.
        in_bounds = claims.expires_at - claims.issued_at <= math.ceil(self.lifetime)
        return found if claims.identity == install.identity and in_bounds and now < found.renew_at else None


def docker_config(host: str, install: str, token: str) -> bytes:
    """The content of a pull Secret: kubelet presents `token` to `host` and to nobody else."""
    auth = base64.b64encode(f"{install}:{token}".encode()).decode()
    return json.dumps({"auths": {host: {"username": install, "password": token, "auth": auth}}}, sort_keys=True).encode()


def token_in(secret: Secret, host: str) -> str:
    """The token that a pull Secret holds for `host`, "" when it holds none."""
    try:
        token = json.loads(secret.data[DOCKER_CONFIG_KEY])["auths"][host]["password"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return ""
    return token if isinstance(token, str) else ""

"""What a login gives: a user name and password, a token to present as it is, or nobody."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class UserPassword:
    """Sent as Basic, to the registry or to its token service. `lifetime` is seconds, None when it does not expire."""

    username: str
    password: str = field(repr=False)
    lifetime: float | None = None

    @property
    def header(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text may repeat."""
        return (self.password,)


@dataclass(frozen=True, slots=True)
class BearerToken:
    """Presented to the registry as it is."""

    token: str = field(repr=False)
    lifetime: float | None = None

    @property
    def header(self) -> str:
        return f"Bearer {self.token}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.token,)


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Nobody: public repositories only."""

    lifetime: None = None
    header: str = ""
    secrets: tuple[str, ...] = ()


Identity = UserPassword | BearerToken | Anonymous


class Login(Protocol):
    """One kind of login, made for one secret version."""

    async def identity(self) -> Identity:
        """Logs in where that takes a request. Raises LoginFailed, UpstreamUnreachable, UpstreamTimeout, RateLimited."""
        ...

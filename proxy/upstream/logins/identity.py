"""The result of a login: a user name and password, a static token, or anonymous access."""

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
        """The values that must never appear in any text."""
        return (self.password,)


@dataclass(frozen=True, slots=True)
class BearerToken:
    """Sent to the registry unchanged."""

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
    """Anonymous: public repositories only."""

    lifetime: None = None
    header: str = ""
    secrets: tuple[str, ...] = ()


Identity = UserPassword | BearerToken | Anonymous


class Login(Protocol):
    """One kind of login, made for one secret version."""

    async def identity(self) -> Identity:
        """Logs in, if that takes a request. Raises LoginFailed, UpstreamUnreachable, UpstreamTimeout, RateLimited."""
        ...

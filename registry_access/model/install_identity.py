"""Which install a token is of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InstallIdentity:
    """What a token binds: the install's name, its UID and the token generation."""

    workspace: str
    install: str
    uid: str
    generation: int

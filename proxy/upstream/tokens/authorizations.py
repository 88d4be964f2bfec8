"""Authorization headers for upstreams, cached: one login for many pulls, renewed before it expires, never after a revocation.

The key holds the credential's UID and the secret's fingerprint, so that a new secret version or another credential can never be
served a header of the old one. What expires is renewed in the background once four fifths of its life are over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from proxy.upstream.logins.identity import Identity
from proxy.upstream.tenant_map import Key, TenantMap

CacheKey = Key
_RENEW_AT = 0.8
_MARGIN_SECONDS = 5.0
_UNEXPIRING_SECONDS = 3600.0


@dataclass(slots=True)
class Held:
    """An identity with its times on the monotonic clock."""

    identity: Identity
    renew_at: float
    expires_at: float
    renewing: asyncio.Task[None] | None = field(default=None, repr=False)


class AuthorizationCache:
    """Single-flight: concurrent callers for one key share one login."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, maximum: int = 10_000) -> None:
        self._clock = clock
        self._held: TenantMap[Held] = TenantMap(maximum, lambda held: len(held.identity.header))
        self._flights: dict[CacheKey, asyncio.Task[Identity]] = {}

    async def get(self, key: CacheKey, login: Callable[[], Awaitable[Identity]]) -> Identity:
        """The identity for `key`, logging in when none is held. Raises what `login` raises."""
        held, now = self._held.get(key), self._clock()
        if held and now < held.expires_at:
            if now >= held.renew_at and (held.renewing is None or held.renewing.done()):
                held.renewing = asyncio.create_task(self._renew(key, login))
            return held.identity
        return await self._fly(key, login)

    def peek(self, key: CacheKey) -> Identity | None:
        """What is held for `key`, good or not; nobody logs in."""
        held = self._held.get(key)
        return held.identity if held else None

    def drop(self, key: CacheKey, identity: Identity | None = None) -> None:
        """Forgets the identity held for `key`; with `identity`, only if it is still that one."""
        held = self._held.get(key)
        if held and (identity is None or held.identity is identity):
            self._held.pop(key)

    def drop_credential(self, uid: str) -> None:
        """Forgets everything that a credential gave: it was changed, disabled or deleted."""
        self._held.forget(uid)
        for key in [key for key in self._flights if uid in key]:
            del self._flights[key]

    async def _fly(self, key: CacheKey, login: Callable[[], Awaitable[Identity]]) -> Identity:
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._login(key, login))
            self._flights[key] = flight
        # One caller's going away must not take the login from the others.
        return await asyncio.shield(flight)

    async def _login(self, key: CacheKey, login: Callable[[], Awaitable[Identity]]) -> Identity:
        me = asyncio.current_task()
        try:
            identity = await login()
            if self._flights.get(key) is me:  # not dropped meanwhile
                self._hold(key, identity)
            return identity
        finally:
            if self._flights.get(key) is me:
                del self._flights[key]

    async def _renew(self, key: CacheKey, login: Callable[[], Awaitable[Identity]]) -> None:
        try:
            await self._fly(key, login)
        except Exception:
            # The one that is held still serves; the pull that finds it expired reports the failure.
            return

    def _hold(self, key: CacheKey, identity: Identity) -> None:
        lifetime = identity.lifetime if identity.lifetime is not None else _UNEXPIRING_SECONDS
        now = self._clock()
        margin = min(_MARGIN_SECONDS, lifetime * 0.1)
        self._held.put(key, Held(identity, now + lifetime * _RENEW_AT, now + lifetime - margin))

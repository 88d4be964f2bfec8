"""What to present to a registry: logged in once for many pulls, renewed when it is refused before its stated end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from proxy.upstream.access import UpstreamAccess
from proxy.upstream.errors import (
    AddressRefused,
    CertificateRefused,
    LoginFailed,
    LoginUnavailable,
    RealmRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.upstream.logins.choice import choose_login
from proxy.upstream.logins.identity import Anonymous, BearerToken, Identity
from proxy.upstream.network.connection import Connections
from proxy.upstream.settings import UpstreamSettings
from proxy.upstream.tenant_map import Key, TenantMap
from proxy.upstream.tokens.authorizations import AuthorizationCache
from proxy.upstream.tokens.challenge import Challenge
from proxy.upstream.tokens.second_registry import SecondRegistry
from proxy.upstream.tokens.token_service import fetch_token

_FRUITLESS_SECONDS = 60.0
_REMEMBERED = 10_000
Pause = Callable[[], Awaitable[None]]


async def short_pause() -> None:
    """Between two tries, so that many that failed together do not come back together."""
    await asyncio.sleep(random.uniform(0.05, 0.25))  # noqa: S311 - jitter


@dataclass(frozen=True, slots=True)
class Presented:
    """An identity and the credential's `own` that it came from, with the keys they are held under. `fresh`: obtained just now."""

    identity: Identity
    key: Key
    own: Identity
    own_key: Key
    fresh: bool


class Identities:
    """Logins of all credentials, each bounded by `login_seconds` and tried twice where the token service was down."""

    def __init__(
        self,
        settings: UpstreamSettings,
        connections: Connections,
        *,
        pause: Pause = short_pause,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._pause = pause
        self._clock = clock
        self._cache = AuthorizationCache()
        self._fruitless: TenantMap[float] = TenantMap(_REMEMBERED)

    def forget(self, uid: str) -> None:
        """Drops everything that a credential gave."""
        self._cache.drop_credential(uid)
        self._fruitless.forget(uid)

    async def present(self, access: UpstreamAccess, registry: str, scope: str, challenge: Challenge | None) -> Presented:
        """What answers `challenge` for `scope`. Raises LoginFailed, RateLimited, UpstreamUnreachable, UpstreamTimeout."""
        own_key = access.cache_key(registry)
        if challenge is None:
            return Presented(Anonymous(), own_key, Anonymous(), own_key, fresh=True)
        before = self._cache.peek(own_key)
        own = await self.own(access, registry)
        if isinstance(own, BearerToken) or challenge.scheme == "basic":
            return Presented(own, own_key, own, own_key, fresh=own is not before)
        key = (*own_key, challenge.parameters.get("realm", ""), challenge.parameters.get("service", ""), scope)
        held = self._cache.peek(key)

        async def fetch() -> Identity:
            return await self._token(access, registry, scope, challenge, own, renewable=own is before)

        identity = await self._cache.get(key, fetch)
        return Presented(identity, key, own, own_key, fresh=identity is not held)

    async def own(self, access: UpstreamAccess, registry: str) -> Identity:
        """The credential's own identity: what a token service is shown, or the registry itself."""
        return await self._cache.get(access.cache_key(registry), lambda: self._log_in(access, registry))

    async def log_in_again(self, access: UpstreamAccess, registry: str, challenge: Challenge | None) -> Identity:
        """The same without anything that is held, and without a scope: does this credential log in?"""
        if challenge is None:
            return Anonymous()
        own = await self._log_in(access, registry)
        if isinstance(own, BearerToken) or challenge.scheme == "basic":
            return own
        return await self._fetch(access, registry, "", challenge, own)

    async def present_elsewhere(self, access: UpstreamAccess, registry: str, asked: SecondRegistry) -> Identity:
        """A token for the registry that `registry` redirected to. Raises what `present` raises; RealmRefused for a token service
        that `realmHosts` does not state: that it is the second registry's own is nobody's word.
        """
        own = await self.own(access, registry)
        if isinstance(own, BearerToken):
            return Anonymous()
        parameters = asked.challenge.parameters
        key = (
            *access.cache_key(registry),
            asked.registry,
            parameters.get("realm", ""),
            parameters.get("service", ""),
            asked.scope,
        )

        async def fetch() -> Identity:
            return await self._tried(
                asked.registry,
                lambda: fetch_token(
                    self._connections,
                    asked.registry,
                    asked.challenge,
                    asked.scope,
                    own,
                    access.network,
                    stated_only=bool(own.header),
                ),
            )

        try:
            return await self._cache.get(key, fetch)
        except RealmRefused as error:
            raise RealmRefused(f"{registry} redirects to another registry: {error}") from None

    def may_be_renewed(self, presented: Presented) -> bool:
        """Whether a refusal may mean that what was held ended before its time: another login gives another identity then."""
        until = self._fruitless.get(presented.key)
        return not presented.fresh and presented.identity.lifetime is not None and (until is None or self._clock() >= until)

    def drop(self, presented: Presented) -> None:
        """Forgets what was refused, and the login that it came from where that expires too."""
        self._cache.drop(presented.key, presented.identity)
        if presented.own.lifetime is not None:
            self._cache.drop(presented.own_key, presented.own)

    def renewed_in_vain(self, presented: Presented) -> None:
        """A new identity was refused as well: for a while no other login is tried for this reason."""
        self._fruitless.put(presented.key, self._clock() + _FRUITLESS_SECONDS)

    async def _token(
        self, access: UpstreamAccess, registry: str, scope: str, challenge: Challenge, own: Identity, *, renewable: bool
    ) -> Identity:
        """A token for `scope`; with a new login where the token service refuses one that was held and can end early."""
        own_key = access.cache_key(registry)
        try:
            return await self._fetch(access, registry, scope, challenge, own)
        except LoginFailed as error:
            until = self._fruitless.get((*own_key, "login"))
            in_vain = until is not None and self._clock() < until
            if isinstance(error, RealmRefused | LoginUnavailable) or not renewable or own.lifetime is None or in_vain:
                raise
        self._cache.drop(own_key, own)
        try:
            return await self._fetch(access, registry, scope, challenge, await self.own(access, registry))
        except LoginFailed:
            self._fruitless.put((*own_key, "login"), self._clock() + _FRUITLESS_SECONDS)
            raise

    async def _fetch(self, access: UpstreamAccess, registry: str, scope: str, challenge: Challenge, own: Identity) -> Identity:
        return await self._tried(
            registry, lambda: fetch_token(self._connections, registry, challenge, scope, own, access.network)
        )

    async def _log_in(self, access: UpstreamAccess, registry: str) -> Identity:
        lent = self._settings.lends_identity(access.workspace)
        login = choose_login(access.credential, access.secret, self._connections, access.network, own_identity=lent)
        return await self._tried(registry, login.identity)

    async def _tried(self, registry: str, login: Callable[[], Awaitable[Identity]]) -> Identity:
        try:
            async with asyncio.timeout(self._settings.login_seconds):
                try:
                    return await login()
                except (AddressRefused, CertificateRefused):
                    raise
                except LoginUnavailable as error:
                    if error.retry_after:
                        raise  # it said when
                except UpstreamUnreachable:
                    pass
                await self._pause()
                return await login()
        except TimeoutError as error:
            seconds = self._settings.login_seconds
            raise UpstreamTimeout(f"the login for {registry} was not done within {seconds:g} s") from error

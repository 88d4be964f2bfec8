"""The cache of logins: one for many, renewed early, dropped at once."""

from __future__ import annotations

import asyncio

import pytest

from proxy.upstream.errors import LoginFailed
from proxy.upstream.logins.identity import BearerToken, Identity
from proxy.upstream.tokens.authorizations import AuthorizationCache

KEY = ("acme", "uid-1", "fingerprint", "ghcr.io")


class Service:
    """Counts logins; each gives another token."""

    def __init__(self, lifetime: float = 100) -> None:
        self.logins = 0
        self.lifetime = lifetime
        self.failing = False

    async def login(self) -> Identity:
        await asyncio.sleep(0.01)
        if self.failing:
            raise LoginFailed("no")
        self.logins += 1
        return BearerToken(f"token-{self.logins}", self.lifetime)


async def test_fifty_at_expiry_cause_one_login() -> None:
    now, service = [0.0], Service()
    cache = AuthorizationCache(clock=lambda: now[0])
    first = await asyncio.gather(*(cache.get(KEY, service.login) for _ in range(50)))
    assert service.logins == 1
    now[0] = 101
    second = await asyncio.gather(*(cache.get(KEY, service.login) for _ in range(50)))
    assert service.logins == 2
    assert {token.header for token in first} == {"Bearer token-1"}
    assert {token.header for token in second} == {"Bearer token-2"}


async def test_it_is_renewed_before_it_expires_while_the_old_one_serves() -> None:
    now, service = [0.0], Service()
    cache = AuthorizationCache(clock=lambda: now[0])
    await cache.get(KEY, service.login)
    now[0] = 85
    assert (await cache.get(KEY, service.login)).header == "Bearer token-1"
    await asyncio.sleep(0.05)
    assert (await cache.get(KEY, service.login)).header == "Bearer token-2"
    assert service.logins == 2


async def test_a_renewal_that_fails_leaves_the_old_one_to_its_end() -> None:
    now, service = [0.0], Service()
    cache = AuthorizationCache(clock=lambda: now[0])
    await cache.get(KEY, service.login)
    service.failing = True
    now[0] = 85
    await cache.get(KEY, service.login)
    await asyncio.sleep(0.05)
    assert (await cache.get(KEY, service.login)).header == "Bearer token-1"
    now[0] = 101
    with pytest.raises(LoginFailed):
        await cache.get(KEY, service.login)


async def test_a_credential_that_changed_is_forgotten_even_in_flight() -> None:
    service = Service()
    cache = AuthorizationCache()
    flying = asyncio.ensure_future(cache.get(KEY, service.login))
    await asyncio.sleep(0)
    cache.drop_credential("uid-1")
    await flying
    assert (await cache.get(KEY, service.login)).header == "Bearer token-2"
    cache.drop_credential("another")
    assert (await cache.get(KEY, service.login)).header == "Bearer token-2"


async def test_one_callers_leaving_takes_nothing_from_the_others() -> None:
    service, cache = Service(), AuthorizationCache()
    leaving, staying = (asyncio.ensure_future(cache.get(KEY, service.login)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).header == "Bearer token-1"


async def test_it_is_bounded() -> None:
    service, cache = Service(), AuthorizationCache(maximum=3)
    for number in range(10):
        await cache.get((str(number),), service.login)
    assert len(cache._held) == 3


def test_tokens_hide_themselves() -> None:
    assert "canary" not in repr(BearerToken("canary", 1))

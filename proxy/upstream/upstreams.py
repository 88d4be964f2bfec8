"""Upstream registries as the proxy uses them: log in, ask, try once more where that is safe."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from proxy.upstream.authorizations import AuthorizationCache, CacheKey
from proxy.upstream.challenge import Challenge, choose, parse_challenges
from proxy.upstream.circuit import Circuits
from proxy.upstream.connection import Connections
from proxy.upstream.errors import LoginFailed, UpstreamMisbehaved, UpstreamTimeout, UpstreamUnreachable
from proxy.upstream.logins.choice import choose_login
from proxy.upstream.logins.identity import Anonymous, BearerToken, Identity, UserPassword
from proxy.upstream.response import UpstreamResponse
from proxy.upstream.settings import Access, UpstreamSettings
from proxy.upstream.target import UpstreamTarget, base_url
from proxy.upstream.token_service import fetch_token
from registry_access.model.resources import RegistryCredential
from registry_access.model.workspace_secret import ResolvedSecret

_CHALLENGE_SECONDS = 3600.0
_RETRIED = frozenset({500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class UpstreamAccess:
    """With what we come: a workspace's credential and its secret, or neither (anonymous)."""

    workspace: str
    credential: RegistryCredential | None = None
    secret: ResolvedSecret | None = None

    @property
    def network(self) -> Access:
        found = self.credential
        return Access(found.insecure, found.allow_private_addresses, found.realm_hosts) if found else Access()

    def cache_key(self, registry: str) -> CacheKey:
        uid = self.credential.metadata.uid if self.credential else ""
        return (self.workspace, uid, self.secret.fingerprint if self.secret else "", registry)


class UpstreamObserver(Protocol):
    """What metrics want to know."""

    def upstream_answered(self, registry: str, status: int, seconds: float) -> None: ...

    def upstream_failed(self, registry: str) -> None: ...

    def rate_limit_remaining(self, registry: str, credential: str, remaining: int) -> None: ...


class Upstreams:
    """One for a process. `overrides` maps host names to addresses, for tests and split DNS."""

    def __init__(
        self,
        settings: UpstreamSettings,
        observer: UpstreamObserver,
        *,
        overrides: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._connections = Connections(settings, overrides=overrides, tls=tls)
        self._observer = observer
        self._authorizations = AuthorizationCache()
        self._circuits = Circuits(settings.circuit_failures, settings.circuit_seconds)
        self._challenges: dict[tuple[str, bool], tuple[Challenge | None, float]] = {}

    async def start(self) -> None:
        await self._connections.start()

    async def close(self) -> None:
        await self._connections.close()

    def forget(self, credential_uid: str) -> None:
        """Drops every header and token that a credential gave."""
        self._authorizations.drop_credential(credential_uid)

    async def request(
        self, access: UpstreamAccess, method: str, target: UpstreamTarget, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        """Asks for `target` (GET or HEAD) and returns the answer, whatever its status. Raises UpstreamError.

        One bounded retry: after a 5xx, or when no connection could be made. A 401 renews the login once.
        """
        self._circuits.check(target.registry)
        try:
            response = await self._authorized(access, method, target, headers)
            if response.status in _RETRIED and "Retry-After" not in response.headers:
                await response.drain()
                await asyncio.sleep(random.uniform(0.05, 0.25))  # noqa: S311 - jitter
                response = await self._authorized(access, method, target, headers)
        except UpstreamUnreachable:
            await asyncio.sleep(random.uniform(0.05, 0.25))  # noqa: S311 - jitter
            try:
                response = await self._authorized(access, method, target, headers)
            except (UpstreamUnreachable, UpstreamTimeout):
                self._failed(target.registry)
                raise
        except UpstreamTimeout:
            self._failed(target.registry)
            raise
        if response.status in _RETRIED:
            self._circuits.failed(target.registry)
        else:
            self._circuits.succeeded(target.registry)
        self._note_rate_limit(access, target.registry, response)
        return response

    async def ping(self, access: UpstreamAccess, registry: str) -> int:
        """Logs in without asking for any repository and returns the status of `/v2/` then. Raises UpstreamError."""
        challenge = await self._challenge(access, registry, strict=True)
        if challenge is None:
            return 200
        identity = await self._log_in(access)
        if challenge.scheme == "bearer" and not isinstance(identity, BearerToken):
            identity = await fetch_token(self._connections, registry, challenge, "", identity, access.network)
        headers = {"Authorization": identity.header} if identity.header else {}
        url = base_url(registry, insecure=access.network.insecure)
        response = await self._connections.request("GET", url, headers=headers, access=access.network, follow=False)
        status = response.status
        await response.drain()
        return status

    def _failed(self, registry: str) -> None:
        self._circuits.failed(registry)
        self._observer.upstream_failed(registry)

    async def _authorized(
        self, access: UpstreamAccess, method: str, target: UpstreamTarget, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        challenge = await self._challenge(access, target.registry)
        identity, key = await self._identity(access, target, challenge)
        response = await self._send(access, method, target, headers, identity)
        if response.status != 401 or isinstance(identity, UserPassword):
            return response
        # Expired early, or the registry has changed its mind about how it is asked: once more, from the start.
        offered = choose(parse_challenges(response.headers.getall("WWW-Authenticate", [])))
        await response.drain()
        self._authorizations.drop(key, identity)
        if offered is not None:
            self._remember(target.registry, access.network.insecure, offered)
        else:
            self._challenges.pop((target.registry, access.network.insecure), None)
        identity, _ = await self._identity(access, target, offered or await self._challenge(access, target.registry))
        return await self._send(access, method, target, headers, identity)

    async def _send(
        self, access: UpstreamAccess, method: str, target: UpstreamTarget, headers: Mapping[str, str], identity: Identity
    ) -> UpstreamResponse:
        sent = dict(headers) | ({"Authorization": identity.header} if identity.header else {})
        began = time.monotonic()
        response = await self._connections.request(
            method, target.url(insecure=access.network.insecure), headers=sent, access=access.network
        )
        self._observer.upstream_answered(target.registry, response.status, time.monotonic() - began)
        return response

    async def _identity(
        self, access: UpstreamAccess, target: UpstreamTarget, challenge: Challenge | None
    ) -> tuple[Identity, CacheKey]:
        """What to present for `target`, and the cache key it is held under."""
        own_key = access.cache_key(target.registry)
        if challenge is None:
            return Anonymous(), own_key
        own = await self._authorizations.get(own_key, lambda: self._log_in(access))
        if isinstance(own, BearerToken) or challenge.scheme == "basic":
            return own, own_key

        async def fetch() -> Identity:
            return await fetch_token(self._connections, target.registry, challenge, target.scope, own, access.network)

        key = (*own_key, challenge.parameters.get("realm", ""), target.scope)
        return await self._authorizations.get(key, fetch), key

    async def _log_in(self, access: UpstreamAccess) -> Identity:
        own = self._settings.lends_identity(access.workspace)
        login = choose_login(access.credential, access.secret, self._connections, access.network, own_identity=own)
        return await login.identity()

    async def _challenge(self, access: UpstreamAccess, registry: str, *, strict: bool = False) -> Challenge | None:
        """How the registry wants to be asked: the ping's challenge, remembered. None: it asks nobody.

        `strict` asks anew, and raises UpstreamMisbehaved for an answer that no registry gives.
        """
        key = (registry, access.network.insecure)
        known = self._challenges.get(key)
        if known and time.monotonic() < known[1] and not strict:
            return known[0]
        response = await self._connections.request(
            "GET", base_url(registry, insecure=access.network.insecure), headers={}, access=access.network, follow=False
        )
        challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
        status = response.status
        await response.drain()
        if strict and status not in (200, 401):
            raise UpstreamMisbehaved(f"{registry} answered {status} to /v2/, as no registry does")
        if status == 401:
            challenge = choose(challenges)
            if challenge is None:
                raise LoginFailed(f"{registry} asks for a login in a way that is neither Basic nor Bearer", status)
            return self._remember(registry, key[1], challenge)
        return self._remember(registry, key[1], None) if status < 400 or status == 404 else None

    def _remember(self, registry: str, insecure: bool, challenge: Challenge | None) -> Challenge | None:
        self._challenges[registry, insecure] = (challenge, time.monotonic() + _CHALLENGE_SECONDS)
        return challenge

    def _note_rate_limit(self, access: UpstreamAccess, registry: str, response: UpstreamResponse) -> None:
        remaining = response.headers.get("ratelimit-remaining", "").partition(";")[0]
        if remaining.isascii() and remaining.isdigit():
            name = access.credential.metadata.name if access.credential else "anonymous"
            self._observer.rate_limit_remaining(registry, name, int(remaining))

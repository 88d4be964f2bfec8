"""Upstream registries as the proxy uses them: log in, ask, try once more where that is safe."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol
from urllib.parse import urlsplit

from proxy.upstream.access import UpstreamAccess
from proxy.upstream.circuit import Circuits
from proxy.upstream.errors import (
    AddressRefused,
    CertificateRefused,
    LoginFailed,
    UpstreamMisbehaved,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.upstream.logins.identity import Anonymous, Identity
from proxy.upstream.network.connection import Connections
from proxy.upstream.network.response import UpstreamResponse
from proxy.upstream.registry_profile import RegistryProfile, RegistryProfiles
from proxy.upstream.settings import UpstreamSettings
from proxy.upstream.target import UpstreamTarget
from proxy.upstream.tenant_map import Key
from proxy.upstream.tokens.challenge import choose, parse_challenges
from proxy.upstream.tokens.identities import Identities, Pause, Presented, short_pause
from proxy.upstream.tokens.second_registry import second_registry
from proxy.upstream.version_check import VersionAnswer, VersionCheck
from registry_access.model.errors import UpstreamError
from registry_access.runtime.connections.name_lookup import tenant

__all__ = ["UpstreamAccess", "UpstreamObserver", "Upstreams"]
_RETRIED = frozenset({500, 502, 503, 504})
_REFUSED = frozenset({401, 403})


class UpstreamObserver(Protocol):
    """What metrics want to know."""

    def upstream_answered(self, registry: str, status: int, seconds: float) -> None: ...

    def upstream_failed(self, registry: str) -> None: ...

    def circuit_opened(self, registry: str) -> None: ...

    def rate_limit_remaining(self, registry: str, credential: str, remaining: int) -> None: ...


class Upstreams:
    """One for a process. `overrides` maps host names to addresses, for tests and split DNS.

    Everything that is remembered - what a registry asks for, logins, circuits - is remembered for one workspace's credential with
    one version of its secret, and never of more than answered: not of what a redirect led to.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        observer: UpstreamObserver,
        *,
        overrides: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        pause: Pause = short_pause,
    ) -> None:
        self._connections = Connections(settings, overrides=overrides, tls=tls)
        self._observer = observer
        self._pause = pause
        self._identities = Identities(settings, self._connections, pause=pause)
        self._version_check = VersionCheck(self._connections)
        self._profiles = RegistryProfiles()
        self._circuits = Circuits(settings.circuit_failures, settings.circuit_seconds)
        self._probe_seconds = min(settings.headers_seconds, settings.login_seconds)
        self._probes: dict[Key, asyncio.Task[None]] = {}
        self._asking: dict[Key, asyncio.Task[VersionAnswer]] = {}

    async def start(self) -> None:
        await self._connections.start()

    async def close(self) -> None:
        for probe in self._probes.values():
            probe.cancel()
        await self._connections.close()

    def forget(self, credential_uid: str) -> None:
        """Drops everything that is remembered for a credential."""
        self._identities.forget(credential_uid)
        self._profiles.forget(credential_uid)
        self._circuits.forget(credential_uid)

    async def request(
        self, access: UpstreamAccess, method: str, target: UpstreamTarget, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        """Asks for `target` (GET or HEAD) and returns the answer, whatever its status. Raises UpstreamError.

        One bounded retry: after a 5xx that does not say when to come again, or when no connection to the registry could be made.
        A refusal renews the login once, where that may help.
        """
        key = access.cache_key(target.registry)
        self._circuits.check(key)
        whose = tenant.set(access.workspace)
        try:
            response = await self._twice(access, method, target, headers)
        except UpstreamError as error:
            self._note_failure(access, target.registry, error)
            raise
        finally:
            tenant.reset(whose)
        if response.redirected:
            return response  # its storage's, or another registry's: this says nothing about the registry
        if response.status >= 500:
            self._doubt(access, target.registry)
        else:
            self._circuits.succeeded(key)
        self._note_rate_limit(access, target.registry, response)
        return response

    async def ping(self, access: UpstreamAccess, registry: str) -> int:
        """Logs in without asking for any repository and returns the status of `/v2/` then. Nothing that is held is used.

        Raises UpstreamError; UpstreamMisbehaved when no registry answers like that.
        """
        profile = await self._version_check.require_registry(registry, access.network)
        if profile.challenge is None:
            return 200
        identity = await self._identities.log_in_again(access, registry, profile.challenge)
        return await self._version_check.with_login(registry, access.network, profile, identity.header)

    async def _twice(
        self, access: UpstreamAccess, method: str, target: UpstreamTarget, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        try:
            response = await self._authorized(access, method, target, headers)
            if response.status not in _RETRIED or "Retry-After" in response.headers:
                return response
            await response.drain()
        except UpstreamUnreachable as error:
            if not error.worth_a_retry:
                raise
        await self._pause()
        return await self._authorized(access, method, target, headers)

    async def _authorized(
        self, access: UpstreamAccess, method: str, target: UpstreamTarget, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        profile = await self._profile(access, target)
        presented = await self._identities.present(access, target.registry, target.scope, profile.challenge)
        response = await self._send(access, method, target, headers, profile, presented.identity)
        if response.status not in _REFUSED:
            return response
        if response.redirected:
            return await self._at_second_registry(access, method, target, headers, response)
        return await self._refused(access, method, target, headers, profile, presented, response)

    async def _refused(
        self,
        access: UpstreamAccess,
        method: str,
        target: UpstreamTarget,
        headers: Mapping[str, str],
        profile: RegistryProfile,
        presented: Presented,
        response: UpstreamResponse,
    ) -> UpstreamResponse:
        """After a 401 or 403 from the registry's own host: a second try, where the repository asks for another login than was
        known or where the identity may have expired early; else the refusal itself.
        """
        key = _profile_key(access, target.registry)
        offered = choose(parse_challenges(response.headers.getall("WWW-Authenticate", []))) if response.status == 401 else None
        other = offered is not None and not offered.asks_as(profile.challenge)
        if other:
            profile = replace(profile, challenge=offered)
        elif self._identities.may_be_renewed(presented):
            self._identities.drop(presented)
        elif response.status == 401 and offered is None and isinstance(presented.identity, Anonymous):
            # Only its ping may carry a challenge, and that was answered otherwise before.
            self._profiles.drop(key)
            again = await self._profile(access, target)
            if again == profile:
                return response
            profile = again
        else:
            return response
        await response.drain()
        presented = await self._identities.present(access, target.registry, target.scope, profile.challenge)
        response = await self._send(access, method, target, headers, profile, presented.identity)
        if response.status in _REFUSED and not response.redirected:
            self._identities.renewed_in_vain(presented)
        elif other:
            self._profiles.remember(key, profile, target.repository)
        return response

    async def _at_second_registry(
        self,
        access: UpstreamAccess,
        method: str,
        target: UpstreamTarget,
        headers: Mapping[str, str],
        response: UpstreamResponse,
    ) -> UpstreamResponse:
        """A redirect led to a registry that asks for a login of its own: the credential's, where its token service is stated."""
        asked = second_registry(response)
        if asked is None:
            return response
        url = response.url
        await response.drain()
        identity = await self._identities.present_elsewhere(access, target.registry, asked)
        if not identity.header:
            return await self._connections.request(method, url, headers=headers, access=access.network, redirected=True)
        sent = dict(headers) | {"Authorization": identity.header}
        return await self._connections.request(method, url, headers=sent, access=access.network, redirected=True)

    async def _send(
        self,
        access: UpstreamAccess,
        method: str,
        target: UpstreamTarget,
        headers: Mapping[str, str],
        profile: RegistryProfile,
        identity: Identity,
    ) -> UpstreamResponse:
        sent = dict(headers) | ({"Authorization": identity.header} if identity.header else {})
        url, began = target.url(insecure=profile.plain), time.monotonic()
        try:
            response = await self._connections.request(method, url, headers=sent, access=access.network)
        except (UpstreamUnreachable, UpstreamTimeout) as error:
            _of_registry(error, url)
            raise
        self._observer.upstream_answered(target.registry, response.status, time.monotonic() - began)
        return response

    async def _profile(self, access: UpstreamAccess, target: UpstreamTarget) -> RegistryProfile:
        """How this repository wants to be asked: as it said itself, else as the registry's ping says."""
        key = _profile_key(access, target.registry)
        known = self._profiles.get(key, target.repository) or self._profiles.get(key)
        if known is not None:
            return known
        flight = self._asking.get(key)
        if flight is None:
            flight = asyncio.create_task(self._version_check.ask(target.registry, access.network))
            self._asking[key] = flight
            flight.add_done_callback(lambda done: self._asked(key, done))
        try:
            # One question for all who wait; one caller's going away must not take the answer from the others.
            answer = await asyncio.shield(flight)
        except (UpstreamUnreachable, UpstreamTimeout) as error:
            _of_registry(error)
            raise
        if answer.lasting:
            self._profiles.remember(key, answer.profile)
        return answer.profile

    def _asked(self, key: Key, flight: asyncio.Task[VersionAnswer]) -> None:
        self._asking.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # those who waited got it

    def _note_failure(self, access: UpstreamAccess, registry: str, error: UpstreamError) -> None:
        if not isinstance(error, UpstreamUnreachable | UpstreamTimeout):
            return
        self._observer.upstream_failed(registry)
        if error.registry_down:
            if self._circuits.failed(access.cache_key(registry)):
                self._observer.circuit_opened(registry)
        elif isinstance(error, UpstreamTimeout) and error.of_registry:
            self._doubt(access, registry)

    def _doubt(self, access: UpstreamAccess, registry: str) -> None:
        """An object met a 5xx or silence. That is its own affair, until it has happened to many: then the registry is asked."""
        key = access.cache_key(registry)
        if self._circuits.doubted(key) and key not in self._probes:
            probe = asyncio.create_task(self._probe(access, registry))
            self._probes[key] = probe
            probe.add_done_callback(lambda _: self._probes.pop(key, None))

    async def _probe(self, access: UpstreamAccess, registry: str) -> None:
        key = access.cache_key(registry)
        try:
            async with asyncio.timeout(self._probe_seconds):
                answer = await self._version_check.ask(registry, access.network)
            down = answer.status >= 500
        except (AddressRefused, CertificateRefused, LoginFailed, UpstreamMisbehaved):
            down = False
        except (TimeoutError, UpstreamUnreachable, UpstreamTimeout):
            down = True
        if not down:
            self._circuits.succeeded(key)
        elif self._circuits.open(key):
            self._observer.circuit_opened(registry)

    def _note_rate_limit(self, access: UpstreamAccess, registry: str, response: UpstreamResponse) -> None:
        remaining = response.headers.get("ratelimit-remaining", "").partition(";")[0]
        if remaining.isascii() and remaining.isdigit():
            name = access.credential.metadata.name if access.credential else "anonymous"
            self._observer.rate_limit_remaining(registry, name, int(remaining))


def _profile_key(access: UpstreamAccess, registry: str) -> Key:
    return (*access.cache_key(registry), "insecure" if access.network.insecure else "")


def _of_registry(error: UpstreamUnreachable | UpstreamTimeout, url: str = "") -> None:
    """Notes at an error what it says of the registry: nothing where a redirect's target failed, or our own policy refused."""
    if isinstance(error, AddressRefused | CertificateRefused):
        return
    error.worth_a_retry = isinstance(error, UpstreamUnreachable)
    if url and error.host != urlsplit(url).netloc.lower():
        return
    error.of_registry = True
    error.registry_down = isinstance(error, UpstreamUnreachable) or error.connecting

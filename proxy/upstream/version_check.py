"""The API version check: a registry's `/v2/` says how it wants to be asked (distribution-spec, "Determining Support")."""

from __future__ import annotations

import json
from dataclasses import dataclass

from proxy.upstream.errors import (
    AddressRefused,
    LoginFailed,
    RateLimited,
    UpstreamMisbehaved,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from proxy.upstream.network.connection import Connections, Follow
from proxy.upstream.network.response import UpstreamResponse
from proxy.upstream.registry_profile import RegistryProfile
from proxy.upstream.settings import ConnectionPolicy
from proxy.upstream.target import base_url
from proxy.upstream.tokens.challenge import choose, parse_challenges
from registry_access.model.errors import UpstreamError

_DOWN = frozenset({500, 502, 503, 504})
_BODY_MAXIMUM = 64 * 1024


@dataclass(frozen=True, slots=True)
class VersionAnswer:
    """`lasting`: worth remembering, unlike the answer of an outage."""

    status: int
    profile: RegistryProfile
    lasting: bool


class VersionCheck:
    """The API version check, GET /v2/. Nothing is remembered here: see `RegistryProfiles`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def ask(self, registry: str, access: ConnectionPolicy) -> VersionAnswer:
        """Raises UpstreamUnreachable, UpstreamTimeout, and LoginFailed when it asks for a login in neither Basic nor Bearer."""
        response, plain = await self._ask(registry, access)
        challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
        status = response.status
        await response.drain()
        if status == 401:
            challenge = choose(challenges)
            if challenge is None:
                raise LoginFailed(f"{registry} asks for a login in a way that is neither Basic nor Bearer", status)
            return VersionAnswer(status, RegistryProfile(challenge, plain), lasting=True)
        return VersionAnswer(status, RegistryProfile(None, plain), lasting=status < 400 or status == 404)

    async def require_registry(self, registry: str, access: ConnectionPolicy) -> RegistryProfile:
        """The same, for a check of whether this is a registry at all. Raises UpstreamMisbehaved if it is not."""
        response, plain = await self._ask(registry, access)
        if response.status != 401:
            await _check_registry(registry, response)
            return RegistryProfile(None, plain)
        challenge = choose(parse_challenges(response.headers.getall("WWW-Authenticate", [])))
        await response.drain()
        if challenge is None:
            raise UpstreamMisbehaved(f"{registry} answers 401 to /v2/ and asks for neither Basic nor Bearer")
        return RegistryProfile(challenge, plain)

    async def with_login(self, registry: str, access: ConnectionPolicy, profile: RegistryProfile, authorization: str) -> int:
        """The status of `/v2/` with a login. Raises UpstreamMisbehaved if this is not a registry."""
        headers = {"Authorization": authorization} if authorization else {}
        url = base_url(registry, insecure=profile.plain)
        response = await self._connections.request("GET", url, headers=headers, access=access, follow=Follow.WITHIN)
        if response.status in (401, 403):
            await response.drain()
            return response.status
        await _check_registry(registry, response)
        return response.status

    async def _ask(self, registry: str, access: ConnectionPolicy) -> tuple[UpstreamResponse, bool]:
        """The answer, and whether it came by plain HTTP. `insecure` allows that: what speaks TLS all the same is asked by TLS."""
        if not access.insecure:
            return await self._get(registry, access, plain=False), False
        response: UpstreamResponse | None = None
        failure: UpstreamError | None = None
        try:
            response = await self._get(registry, access, plain=True)
            if response.status in (200, 401):
                return response, True
        except AddressRefused:
            raise
        except (UpstreamUnreachable, UpstreamMisbehaved) as error:
            failure = error
        try:
            secure = await self._get(registry, access, plain=False)
        except UpstreamError:
            secure = None
        if secure is not None and (response is None or secure.status in (200, 401)):
            if response is not None:
                response.close()
            return secure, False
        if secure is not None:
            secure.close()
        if response is None:
            raise failure or UpstreamUnreachable(f"{registry} cannot be reached")
        return response, True

    async def _get(self, registry: str, access: ConnectionPolicy, *, plain: bool) -> UpstreamResponse:
        url = base_url(registry, insecure=plain)
        return await self._connections.request("GET", url, headers={}, access=access, follow=Follow.WITHIN)


async def _check_registry(registry: str, response: UpstreamResponse) -> None:
    """Raises what an answer to `/v2/` that is not a registry's "yes" means: a web page answers 200 to anything."""
    status, retry_after = response.status, response.headers.get("Retry-After", "")
    versioned = "Docker-Distribution-Api-Version" in response.headers
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        body = await response.read(_BODY_MAXIMUM)
    except (UpstreamMisbehaved, UpstreamTruncated):
        body = b"<"
    finally:
        response.close()
    if status == 429:
        raise RateLimited(f"{registry} is rate-limiting this credential", retry_after)
    if status in _DOWN and status != 500:
        raise UpstreamUnreachable(f"{registry} answers {status} to /v2/: it is down, or what stands before it is")
    if status != 200:
        raise UpstreamMisbehaved(f"{registry} answers {status} to /v2/, as no registry does")
    if not versioned and (media_type == "text/html" or (body.strip() and not _is_json(body))):
        raise UpstreamMisbehaved(f"{registry} answers /v2/ with a web page")


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True

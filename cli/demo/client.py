"""A small registry client that pulls as container runtimes do: token, index, manifest, concurrent layers, verified digests."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from demo_registry.image import INDEX_TYPE, MANIFEST_TYPE
from registry_access.model.errors import AkuaError

_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_SECONDS = 60.0
Progress = Callable[[str, int, int], None]  # digest, bytes so far, total bytes


class PullFailed(AkuaError):
    """A failed pull. `status` is the HTTP status, or 0 if the connection broke; `detail` comes from the registry error."""

    def __init__(self, message: str, status: int = 0, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.detail = dict(detail or {})

    @property
    def reason(self) -> str:
        return str(self.detail.get("reason", ""))

    @property
    def decision(self) -> str:
        return str(self.detail.get("decision", ""))


@dataclass(frozen=True, slots=True)
class PulledImage:
    digest: str
    layers: int
    bytes: int


class RegistryClient:
    """Pulls from the registry at `address` (plain HTTP, loopback) as `user` with `password`."""

    def __init__(self, address: str, user: str, password: str) -> None:
        self._http = httpx.AsyncClient(base_url=f"http://{address}", timeout=_SECONDS, trust_env=False)
        self._login = (user, password)

    async def close(self) -> None:
        await self._http.aclose()

    async def pull(self, repository: str, reference: str, progress: Progress = lambda *_: None) -> PulledImage:
        """Pulls an image and checks every digest. Raises PullFailed."""
        try:
            token = await self._token(repository)
            manifest, digest = await self._manifest(repository, reference, token)
            if manifest["mediaType"] == INDEX_TYPE:
                chosen = next(item for item in manifest["manifests"] if item["platform"]["architecture"] == "amd64")
                manifest, _ = await self._manifest(repository, chosen["digest"], token)
            layers = manifest["layers"]
            for layer in layers:
                progress(layer["digest"], 0, layer["size"])
            async with asyncio.TaskGroup() as group:
                for descriptor in (manifest["config"], *layers):
                    shown = progress if descriptor in layers else None
                    group.create_task(self._blob(repository, descriptor, token, shown))
        except* httpx.HTTPError as errors:
            first = errors.exceptions[0]
            raise PullFailed(f"the connection broke: {first or type(first).__name__}") from first
        except* PullFailed as errors:
            raise errors.exceptions[0] from None
        return PulledImage(digest, len(layers), sum(layer["size"] for layer in layers))

    async def _token(self, repository: str) -> str:
        ping = await self._http.get("/v2/")
        challenge = dict(_PARAMETER.findall(ping.headers.get("www-authenticate", "")))
        if ping.status_code != 401 or "realm" not in challenge:
            raise PullFailed("the registry does not ask for a token", ping.status_code)
        scope = {"service": challenge["service"], "scope": f"repository:{repository}:pull"}
        answer = await self._http.get(challenge["realm"], params=scope, auth=self._login)
        _check(answer)
        return str(answer.json()["token"])

    async def _manifest(self, repository: str, reference: str, token: str) -> tuple[dict[str, Any], str]:
        headers = {"Authorization": f"Bearer {token}", "Accept": f"{INDEX_TYPE}, {MANIFEST_TYPE}"}
        answer = await self._http.get(f"/v2/{repository}/manifests/{reference}", headers=headers)
        _check(answer)
        digest = "sha256:" + hashlib.sha256(answer.content).hexdigest()
        if reference.startswith("sha256:") and reference != digest:
            raise PullFailed("the manifest does not match its digest")
        manifest: dict[str, Any] = answer.json()
        return manifest, digest

    async def _blob(self, repository: str, descriptor: Mapping[str, Any], token: str, progress: Progress | None) -> None:
        digest, size, received, hasher = descriptor["digest"], descriptor["size"], 0, hashlib.sha256()
        headers = {"Authorization": f"Bearer {token}"}
        async with self._http.stream("GET", f"/v2/{repository}/blobs/{digest}", headers=headers) as answer:
            if answer.status_code != 200:
                await answer.aread()
                _check(answer)
            async for piece in answer.aiter_raw():
                hasher.update(piece)
                received += len(piece)
                if progress:
                    progress(digest, received, size)
        if digest != "sha256:" + hasher.hexdigest():
            raise PullFailed("a layer does not match its digest")


def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    try:
        error = answer.json()["errors"][0]
        raise PullFailed(str(error["message"]), answer.status_code, error.get("detail"))
    except (ValueError, KeyError, IndexError, TypeError):
        raise PullFailed(f"the registry answered {answer.status_code}", answer.status_code) from None

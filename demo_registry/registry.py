"""A private upstream registry in this process, for the demo and for tests: real HTTP, real logins, real content.

It speaks the pull half of distribution-spec 1.1, asks for Basic or Bearer (with a token service of its own), and can be made
slow, so that a test can revoke in the middle of a blob.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from demo_registry.image import INDEX_TYPE, Repository

_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs|tags|referrers)/(?P<reference>[^/]+)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_PIECE = 64 * 1024


@dataclass
class UpstreamRegistry:
    """`login` is "basic", "bearer" or "" (open). `rate` limits blobs to bytes per second; 0 means no limit."""

    username: str = "robot"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    login: str = "bearer"
    rate: int = 0
    token_lifetime: int = 300
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list, repr=False)
    streaming: int = 0
    _tokens: set[str] = field(default_factory=set, repr=False)

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/token", self._token),
                Route("/v2/", self._ping),
                Route("/v2/{rest:path}", self._content, methods=["GET", "HEAD"]),
            ]
        )

    async def _token(self, request: Request) -> Response:
        if request.headers.get("authorization") != self._basic():
            return _error(401, "UNAUTHORIZED", "incorrect username or password")
        token = secrets.token_urlsafe(24)
        self._tokens.add(token)
        return JSONResponse({"token": token, "expires_in": self.token_lifetime})

    async def _ping(self, request: Request) -> Response:
        return self._refuse(request) or JSONResponse({})

    async def _content(self, request: Request) -> Response:
        self.requests.append((request.method, request.url.path))
        self.authorizations.append(request.headers.get("authorization", ""))
        if refused := self._refuse(request):
            return refused
        match = _PATH.fullmatch(request.url.path)
        found = self.repositories.get(match["name"]) if match else None
        if match is None or found is None:
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry")
        if match["kind"] == "manifests":
            return self._manifest(found, match["reference"])
        if match["kind"] == "blobs":
            return self._blob(request, found, match["reference"])
        if match["kind"] == "referrers":
            manifests = found.referrers.get(match["reference"], [])
            return JSONResponse({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}, media_type=INDEX_TYPE)
        return self._tags(request, match["name"], found)

    def _manifest(self, found: Repository, reference: str) -> Response:
        stored = found.manifests.get(found.tags.get(reference, reference))
        if stored is None:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return Response(stored.content, media_type=stored.media_type, headers={"Docker-Content-Digest": stored.digest})

    def _blob(self, request: Request, found: Repository, digest: str) -> Response:
        content = found.blobs.get(digest)
        if content is None:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {"Docker-Content-Digest": digest, "Accept-Ranges": "bytes"}
        first, last, status = 0, len(content) - 1, 200
        if match := _RANGE.fullmatch(request.headers.get("range", "")):
            first, last = _extent(match[1], match[2], len(content))
            if first > last:
                return Response(status_code=416, headers={"Content-Range": f"bytes */{len(content)}"})
            status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{len(content)}"
        headers["Content-Length"] = str(last - first + 1)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type="application/octet-stream")
        pieces = self._pieces(content[first : last + 1])
        return StreamingResponse(pieces, status, headers, "application/octet-stream")

    async def _pieces(self, content: bytes) -> AsyncIterator[bytes]:
        self.streaming += 1
        try:
            for start in range(0, len(content), _PIECE):
                yield content[start : start + _PIECE]
                if self.rate:
                    await asyncio.sleep(_PIECE / self.rate)
        finally:
            self.streaming -= 1

    def _tags(self, request: Request, name: str, found: Repository) -> Response:
        tags = sorted(found.tags)
        last, limit = request.query_params.get("last", ""), int(request.query_params.get("n", len(tags) or 1))
        page = [tag for tag in tags if tag > last][:limit]
        more = bool(page) and page[-1] != tags[-1]
        headers = {"Link": f'</v2/{name}/tags/list?last={page[-1]}&n={limit}>; rel="next"'} if more else {}
        return JSONResponse({"name": name, "tags": page}, headers=headers)

    def _refuse(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "")
        scheme, _, token = given.partition(" ")
        if not self.login or (self.login == "basic" and given == self._basic()) or (scheme == "Bearer" and token in self._tokens):
            return None
        realm = f"{request.url.scheme}://{request.headers['host']}/token"
        bearer = f'Bearer realm="{realm}",service="upstream"'
        challenge = 'Basic realm="upstream"' if self.login == "basic" else bearer
        return _error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})

    def _basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def forget_tokens(self) -> None:
        """As if every token had expired."""
        self._tokens.clear()


def _extent(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last or 0)), size - 1
    return (int(first), min(int(last) if last else size - 1, size - 1)) if int(first) < size else (1, 0)


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps({"errors": [{"code": code, "message": message}]})
    return Response(body, status, headers, "application/json")

"""Emulators of the registries of the world: the names, token services, quirks and refusals of each, by TLS on those very names.

A kind is data (`KINDS`); what it cannot say is in `EmulatedRegistry`. Sources of the quirks: registry-protocol.md, and
  Docker Hub  Docker docs "Usage and rate limits": RateLimit headers on manifests, plain-text 429; auth.docker.io issues tokens
  GHCR        a raw PAT as Bearer fails; blobs redirect to another host
  ECR         Amazon ECR API Reference, GetAuthorizationToken; Basic at the registry; blobs redirect to S3, which refuses a second
              authorization ("Only one auth mechanism allowed")
  ECR Public  the scope is literally `aws`; HEAD of a blob answers 401
  Google      `_json_key` with a JSON document as password; only the ping carries the challenge
  Azure       tokens come without expires_in; Entra ID: /oauth2/exchange, then the null GUID user (Azure/acr "AAD-OAuth.md")
  GitLab      tokens are issued at gitlab.com for registry.gitlab.com
  Quay        answers only `token`; a malformed scope is a 400
  Harbor      a token service below /service/token on the same host and port
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from demo_registry.image import Repository
from demo_registry.registry import UpstreamRegistry
from tests.support.tls import served_tls

SECRET = "canary-of-the-upstream"
_SERVICE_ACCOUNT = '{"type": "service_account", "private_key": "' + SECRET + '", "a": "b:c"}'
_NULL_GUID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Kind:
    """`registry` is the image's host, `endpoint` where its registry answers. `realm` "" asks for Basic."""

    name: str
    registry: str
    endpoint: str
    realm: str
    service: str
    type: str
    values: Mapping[str, str]
    user: str
    password: str
    blobs: str = ""
    lifetime: int | None = 300
    token_member: str = "token"
    scope: str = ""
    head_blob: int = 200
    challenge_everywhere: bool = True
    rate_limit: bool = False

    @property
    def hosts(self) -> set[str]:
        named = {self.endpoint, self.blobs, re.sub(r"^https://([^/]+)/.*$", r"\1", self.realm)}
        helpers = {
            "ecr": {"api.ecr.eu-west-1.amazonaws.com"},
            "azure-entra": {"login.microsoftonline.com"},
            "oauth": {"login.example"},
        }
        return {host for host in named | helpers.get(self.name, set()) if host}


def _header(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _basic(user: str, password: str = SECRET) -> dict[str, str]:
    return {"username": user, "password": password}


_OAUTH = {"client_id": "client", "client_secret": SECRET}
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "docker-hub",
            "docker.io",
            "registry-1.docker.io",
            "https://auth.docker.io/token",
            "registry.docker.io",
            "Basic",
            _basic("robot"),
            "robot",
            SECRET,
            blobs="production.cloudflare.docker.com",
            rate_limit=True,
        ),
        Kind(
            "ghcr",
            "ghcr.io",
            "ghcr.io",
            "https://ghcr.io/token",
            "ghcr.io",
            "Token",
            {"token": SECRET},
            "token",
            SECRET,
            blobs="pkg-containers.githubusercontent.com",
        ),
        Kind(
            "ecr",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "",
            "",
            "AWS",
            {"access_key_id": "AKIDEXAMPLE", "secret_access_key": SECRET, "region": "eu-west-1"},
            "AWS",
            "ecr-password",
            blobs="prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com",
        ),
        Kind(
            "ecr-public",
            "public.ecr.aws",
            "public.ecr.aws",
            "https://public.ecr.aws/token/",
            "public.ecr.aws",
            "Anonymous",
            {},
            "",
            "",
            scope="aws",
            head_blob=401,
            blobs="d5l0dvt14r5h8.cloudfront.net",
        ),
        Kind(
            "google",
            "europe-docker.pkg.dev",
            "europe-docker.pkg.dev",
            "https://europe-docker.pkg.dev/v2/token",
            "europe-docker.pkg.dev",
            "Basic",
            _basic("_json_key", _SERVICE_ACCOUNT),
            "_json_key",
            _SERVICE_ACCOUNT,
            challenge_everywhere=False,
        ),
        Kind(
            "azure",
            "team.azurecr.io",
            "team.azurecr.io",
            "https://team.azurecr.io/oauth2/token",
            "team.azurecr.io",
            "Basic",
            _basic("principal"),
            "principal",
            SECRET,
            lifetime=None,
            token_member="access_token",
            blobs="team.blob.core.windows.net",
        ),
        Kind(
            "azure-entra",
            "team.azurecr.io",
            "team.azurecr.io",
            "https://team.azurecr.io/oauth2/token",
            "team.azurecr.io",
            "OAuth",
            {**_OAUTH, "token_url": "https://login.microsoftonline.com/tenant-1/oauth2/v2.0/token"},
            _NULL_GUID,
            "acr-refresh",
            lifetime=None,
            token_member="access_token",
        ),
        Kind(
            "gitlab",
            "registry.gitlab.com",
            "registry.gitlab.com",
            "https://gitlab.com/jwt/auth",
            "container_registry",
            "Basic",
            _basic("gitlab+deploy-token-1"),
            "gitlab+deploy-token-1",
            SECRET,
        ),
        Kind(
            "quay",
            "quay.io",
            "quay.io",
            "https://quay.io/v2/auth",
            "quay.io",
            "Basic",
            _basic("acme+robot"),
            "acme+robot",
            SECRET,
            lifetime=None,
        ),
        Kind(
            "harbor",
            "harbor.example",
            "harbor.example",
            "https://harbor.example/service/token",
            "harbor-registry",
            "Basic",
            _basic("robot$acme+pull"),
            "robot$acme+pull",
            SECRET,
        ),
        Kind(
            "oauth",
            "registry.example",
            "registry.example",
            "",
            "",
            "OAuth",
            {**_OAUTH, "token_url": "https://login.example/token"},
            "",
            "oauth-access-token",
        ),
    )
}


@dataclass
class EmulatedRegistry:
    """One kind, answering on all of its names. `seen` holds (host, method, path, authorization) of every request."""

    kind: Kind
    content: Repository
    seen: list[tuple[str, str, str, str]] = field(default_factory=list)
    logins: int = 0
    lifetime: int | None = None
    refuse_login: bool = False
    more_passwords: tuple[str, ...] = ()
    tokens: dict[str, float] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        host, path = request.headers["host"].partition(":")[0], request.url.path
        self.seen.append((host, request.method, path, request.headers.get("authorization", "")))
        answer = await self._answer(host, path, request)
        await answer(scope, receive, send)

    async def _answer(self, host: str, path: str, request: Request) -> Response:
        kind = self.kind
        if host == kind.blobs:
            return self._storage(path, request)
        if host in ("api.ecr.eu-west-1.amazonaws.com",):
            return self._ecr(request)
        if host in ("login.microsoftonline.com", "login.example"):
            return await self._oauth(request)
        if path == "/oauth2/exchange":
            form = parse_qs((await request.body()).decode())
            good = form.get("access_token") == ["entra-token"] and form.get("grant_type") == ["access_token"]
            return JSONResponse({"refresh_token": "acr-refresh"}) if good else _unauthorized("bad exchange")
        if f"https://{host}{path}" == kind.realm:
            return self._token(request)
        return self._registry(path, request)

    def _token(self, request: Request) -> Response:
        kind = self.kind
        if kind.name == "quay" and not re.fullmatch(r"repository:[a-z0-9/._-]+:pull", request.query_params.get("scope", "")):
            return PlainTextResponse("malformed scope", 400)
        if kind.scope and request.query_params.get("scope") != kind.scope:
            return _unauthorized("the scope is not what this registry wants")
        given = request.headers.get("authorization", "")
        accepted = {_header(kind.user, password) for password in (kind.password, *self.more_passwords)} if kind.user else {""}
        if given not in accepted or self.refuse_login or request.query_params.get("service") != kind.service:
            return _unauthorized("incorrect username or password")
        self.logins += 1
        lifetime = self.lifetime or kind.lifetime
        token = secrets.token_urlsafe(16)
        self.tokens[token] = time.monotonic() + (lifetime or 3600)
        return JSONResponse({kind.token_member: token} | ({"expires_in": lifetime} if lifetime else {}))

    def _ecr(self, request: Request) -> Response:
        signed = request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
        if not signed or self.refuse_login:
            return JSONResponse({"__type": "UnrecognizedClientException", "message": "The security token is invalid"}, 400)
        self.logins += 1
        password = base64.b64encode(b"AWS:ecr-password").decode()
        return JSONResponse({"authorizationData": [{"authorizationToken": password, "expiresAt": time.time() + 43200}]})

    async def _oauth(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        if form.get("client_secret") != [SECRET] or self.refuse_login:
            return JSONResponse({"error": "invalid_client", "error_description": "client authentication failed"}, 401)
        self.logins += 1
        token = "entra-token" if self.kind.name == "azure-entra" else "oauth-access-token"
        return JSONResponse({"access_token": token, "expires_in": 3599})

    def _registry(self, path: str, request: Request) -> Response:
        if not self._may(request):
            return self._challenge(path)
        if path == "/v2/":
            return JSONResponse({})
        match = re.fullmatch(r"/v2/(library/)?acme/app/(manifests|blobs|tags)/([^/]+)", path)
        if match is None:
            return JSONResponse({"errors": [{"code": "NAME_UNKNOWN"}]}, 404)
        plain = UpstreamRegistry(login="")
        if match[2] == "manifests":
            answer = plain._manifest(self.content, match[3])
            if self.kind.rate_limit:
                answer.headers.update({"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "97;w=21600"})
            return answer
        if match[2] == "tags":
            return JSONResponse({"name": "acme/app", "tags": sorted(self.content.tags)})
        if request.method == "HEAD" and self.kind.head_blob != 200:
            return Response(status_code=self.kind.head_blob)
        if self.kind.blobs:
            return RedirectResponse(f"https://{self.kind.blobs}/{match[3]}?X-Signature=a%2Fb", 307)
        return plain._blob(request, self.content, match[3])

    def _storage(self, path: str, request: Request) -> Response:
        if "authorization" in request.headers:
            return PlainTextResponse("Only one auth mechanism allowed", 400)
        return UpstreamRegistry(login="")._blob(request, self.content, path.lstrip("/"))

    def _may(self, request: Request) -> bool:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if self.kind.name == "oauth":
            return scheme == "Bearer" and value == "oauth-access-token"
        if not self.kind.realm:
            return scheme == "Basic" and base64.b64decode(value).decode() == f"{self.kind.user}:{self.kind.password}"
        return scheme == "Bearer" and self.tokens.get(value, 0) > time.monotonic()

    def _challenge(self, path: str) -> Response:
        if self.kind.realm:
            header = f'Bearer realm="{self.kind.realm}",service="{self.kind.service}"'
        else:
            header = (
                "Bearer"
                if self.kind.name == "oauth"
                else f'Basic realm="https://{self.kind.endpoint}/",service="ecr.amazonaws.com"'
            )
        shown = self.kind.challenge_everywhere or path == "/v2/"
        return _unauthorized("authentication required", {"WWW-Authenticate": header} if shown else {})


@asynccontextmanager
async def emulated(kind: Kind, content: Repository) -> AsyncIterator[tuple[EmulatedRegistry, dict[str, str]]]:
    """The emulator, and the overrides that lead its names to it."""
    registry = EmulatedRegistry(kind, content)
    async with served_tls(registry, *sorted(kind.hosts)) as server:
        port = server.authority.rpartition(":")[2]
        yield registry, dict.fromkeys(kind.hosts, f"127.0.0.1:{port}")


def _unauthorized(message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"errors": [{"code": "UNAUTHORIZED", "message": message}]}, 401, headers)

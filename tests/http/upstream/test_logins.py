"""Each kind of login against an emulator of its registry, over TLS, on names of their own.

The emulators' quirks: Azure/acr docs "AAD-OAuth.md"; Amazon ECR API Reference, GetAuthorizationToken; RFC 6749; distribution
"Token Authentication"; public.ecr.aws's literal scope `aws` (registry-protocol.md).
"""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.credentials import Credentials
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from proxy.upstream.errors import LoginFailed, LoginUnavailable, RateLimited, RealmRefused
from proxy.upstream.logins import aws
from proxy.upstream.logins.aws import AwsLogin, endpoint, signed_request
from proxy.upstream.logins.azure import NULL_GUID, AzureLogin
from proxy.upstream.logins.choice import choose_login
from proxy.upstream.logins.identity import Anonymous, BearerToken, UserPassword
from proxy.upstream.logins.oauth import OAuthLogin
from proxy.upstream.logins.static import AnonymousLogin, BasicLogin, BearerLogin, TokenLogin
from proxy.upstream.network.connection import Connections
from proxy.upstream.settings import ConnectionPolicy, UpstreamSettings
from proxy.upstream.tokens.challenge import Challenge
from proxy.upstream.tokens.token_service import fetch_token
from registry_access.model.resources import RegistryCredential
from registry_access.model.workspace_secret import ResolvedSecret
from tests.support import builders
from tests.support.tls import client_context, served_tls

ACCESS = ConnectionPolicy(private_addresses=True)


class Recorder:
    """An application that records what came and answers as told."""

    def __init__(self, *answers: tuple[int, object]) -> None:
        self.answers = list(answers)
        self.seen: list[tuple[str, str, dict[str, str], dict[str, list[str]]]] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST"])])

    async def answer(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        self.seen.append((request.method, str(request.url.path) + "?" + str(request.url.query), dict(request.headers), form))
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(body, bytes):
            return Response(body, status)
        return JSONResponse(body, status, {"Retry-After": "7"} if status == 429 else None)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def connected(stack: AsyncExitStack, recorder: Recorder, *names: str) -> tuple[Connections, str]:
    server = await stack.enter_async_context(served_tls(recorder.app(), *names))
    connections = Connections(UpstreamSettings(), overrides=server.overrides, tls=client_context())
    await connections.start()
    stack.push_async_callback(connections.close)
    return connections, server.authority


def bearer(realm: str) -> Challenge:
    return Challenge("bearer", {"realm": realm, "service": "registry.example"})


async def test_a_token_service_gets_basic_and_the_scope(stack: AsyncExitStack) -> None:
    recorder = Recorder((200, {"token": "t", "expires_in": 300}))
    connections, host = await connected(stack, recorder, "registry.example")
    identity = UserPassword("user", "pass:with:colons")
    token = await fetch_token(connections, host, bearer(f"https://{host}/token"), "repository:a/b:pull", identity, ACCESS)
    assert token == BearerToken("t", 300.0)
    method, path, headers, _ = recorder.seen[0]
    assert (method, path) == ("GET", "/token?service=registry.example&scope=repository%3Aa%2Fb%3Apull")
    assert base64.b64decode(headers["authorization"][6:]).decode() == "user:pass:with:colons"
    assert "cookie" not in headers


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, {"errors": [{"message": "bad credentials"}]}, LoginFailed, "bad credentials"),
        (403, {"details": "denied:\x07 scope"}, LoginFailed, "denied:  scope"),
        (429, {}, RateLimited, "limits"),
        (200, {"nothing": 1}, LoginFailed, "without a token"),
        (200, ["a"], LoginFailed, "JSON object"),
        (200, b"<html>", LoginFailed, "JSON object"),
        (500, b"oops", LoginFailed, "500"),
        (200, {"token": "a\r\nX-Evil: 1"}, LoginFailed, "without a token"),
    ],
)
async def test_what_a_token_service_can_answer(
    stack: AsyncExitStack, status: int, body: object, error: type[Exception], words: str
) -> None:
    connections, host = await connected(stack, Recorder((status, body)), "registry.example")
    with pytest.raises(error, match=words):
        await fetch_token(connections, host, bearer(f"https://{host}/token"), "s", Anonymous(), ACCESS)


async def test_a_token_answer_that_is_compressed_although_identity_was_asked_for(stack: AsyncExitStack) -> None:
    """quay/quay#1310: what stands before a registry compresses JSON unasked."""

    class Compressing(Recorder):
        async def answer(self, request: Request) -> Response:
            response = await super().answer(request)
            return Response(gzip.compress(bytes(response.body)), response.status_code, {"Content-Encoding": "gzip"})

    recorder = Compressing(
        (200, {"token": "t"}), (401, {"errors": [{"message": "bad credentials"}]}), (502, {"message": "later"})
    )
    connections, host = await connected(stack, recorder, "registry.example")
    realm = bearer(f"https://{host}/token")
    assert await fetch_token(connections, host, realm, "s", Anonymous(), ACCESS) == BearerToken("t", 60.0)
    with pytest.raises(LoginFailed, match="bad credentials"):
        await fetch_token(connections, host, realm, "s", Anonymous(), ACCESS)
    with pytest.raises(LoginUnavailable, match="later"):
        await fetch_token(connections, host, realm, "s", Anonymous(), ACCESS)


async def test_a_service_that_is_named_in_other_bytes_than_utf_8_is_named_in_the_same_bytes(stack: AsyncExitStack) -> None:
    recorder = Recorder((200, {"token": "t"}))
    connections, host = await connected(stack, recorder, "registry.example")
    challenge = Challenge("bearer", {"realm": f"https://{host}/token", "service": "caf\udce9"})
    assert await fetch_token(connections, host, challenge, "", Anonymous(), ACCESS) == BearerToken("t", 60.0)
    assert recorder.seen[0][1] == "/token?service=caf%E9"


async def test_a_huge_token_answer_is_not_read(stack: AsyncExitStack) -> None:
    from proxy.upstream.errors import UpstreamMisbehaved

    connections, host = await connected(stack, Recorder((200, b"x" * 200_000)), "registry.example")
    with pytest.raises(UpstreamMisbehaved, match="larger than"):
        await fetch_token(connections, host, bearer(f"https://{host}/token"), "s", Anonymous(), ACCESS)


async def test_a_token_service_elsewhere_never_gets_the_credential(stack: AsyncExitStack) -> None:
    recorder = Recorder((200, {"token": "t"}))
    connections, host = await connected(stack, recorder, "evil.example")
    with pytest.raises(RealmRefused, match=r"evil\.example"):
        await fetch_token(connections, "ghcr.io", bearer(f"https://{host}/token"), "s", UserPassword("u", "canary"), ACCESS)
    assert recorder.seen == []


async def test_public_ecr_wants_its_own_scope(stack: AsyncExitStack) -> None:
    recorder = Recorder((200, {"token": "t"}))
    connections, host = await connected(stack, recorder, "public.ecr.aws")
    access = ConnectionPolicy(private_addresses=True, realm_hosts=(host,))
    await fetch_token(connections, "public.ecr.aws", bearer(f"https://{host}/token/"), "repository:x:pull", Anonymous(), access)
    assert recorder.seen[0][1].endswith("scope=aws")


async def test_oauth_client_credentials(stack: AsyncExitStack) -> None:
    recorder = Recorder((200, {"access_token": "at", "expires_in": 3599}))
    connections, host = await connected(stack, recorder, "login.example")
    values = {"client_id": "id", "client_secret": "s3", "token_url": f"https://{host}/token", "scopes": "a b"}
    assert await OAuthLogin(connections, values, ACCESS).identity() == BearerToken("at", 3599.0)
    assert recorder.seen[0][3] == {
        "client_id": ["id"],
        "client_secret": ["s3"],
        "grant_type": ["client_credentials"],
        "scope": ["a b"],
    }


async def test_oauth_refresh_tokens_are_replaced_when_renewed(stack: AsyncExitStack) -> None:
    recorder = Recorder((200, {"access_token": "1", "refresh_token": "second"}), (200, {"access_token": "2"}))
    connections, host = await connected(stack, recorder, "login.example")
    login = OAuthLogin(connections, {"client_id": "id", "refresh_token": "first", "token_url": f"https://{host}/token"}, ACCESS)
    await login.identity()
    await login.identity()
    assert [seen[3]["refresh_token"] for seen in recorder.seen] == [["first"], ["second"]]


async def test_oauth_over_http_is_refused(stack: AsyncExitStack) -> None:
    connections, _ = await connected(stack, Recorder((200, {})), "login.example")
    values = {"client_id": "id", "client_secret": "x", "token_url": "http://login.example/token"}
    with pytest.raises(RealmRefused):
        await OAuthLogin(connections, values, ACCESS).identity()


async def test_azure_exchanges_an_entra_token_for_a_refresh_token(stack: AsyncExitStack) -> None:
    recorder = Recorder((200, {"access_token": "entra", "expires_in": 3599}), (200, {"refresh_token": "acr-refresh"}))
    connections, host = await connected(stack, recorder, "team.azurecr.io")
    values = {"client_id": "id", "client_secret": "x", "token_url": f"https://{host}/tenant-1/oauth2/v2.0/token"}
    identity = await AzureLogin(connections, host, values, ACCESS).identity()
    assert identity == UserPassword(NULL_GUID, "acr-refresh", 3 * 3600.0)
    assert recorder.seen[0][3]["scope"] == ["https://containerregistry.azure.net/.default"]
    assert recorder.seen[1][1] == "/oauth2/exchange?"
    assert recorder.seen[1][3] == {
        "grant_type": ["access_token"],
        "service": [host],
        "access_token": ["entra"],
        "tenant": ["tenant-1"],
    }


async def test_ecr_gives_a_password_for_twelve_hours(stack: AsyncExitStack) -> None:
    password = base64.b64encode(b"AWS:secret:with:colons").decode()
    answer = {"authorizationData": [{"authorizationToken": password, "expiresAt": time.time() + 43200}]}
    recorder = Recorder((200, answer))
    server = await stack.enter_async_context(served_tls(recorder.app(), "api.ecr.eu-west-1.amazonaws.com"))
    connections = Connections(UpstreamSettings(), overrides=server.overrides, tls=client_context())
    await connections.start()
    stack.push_async_callback(connections.close)
    port = server.authority.rpartition(":")[2]
    values = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret", "region": "eu-west-1"}
    login = AwsLogin(_Ported(connections, port), "123456789012.dkr.ecr.eu-west-1.amazonaws.com", values, ACCESS)  # type: ignore[arg-type]
    identity = await login.identity()
    assert isinstance(identity, UserPassword)
    assert (identity.username, identity.password) == ("AWS", "secret:with:colons")
    assert identity.lifetime is not None
    assert 43000 < identity.lifetime <= 43200
    headers = recorder.seen[0][2]
    assert headers["x-amz-target"] == "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    assert headers["content-type"] == "application/x-amz-json-1.1"
    assert "/eu-west-1/ecr/aws4_request" in headers["authorization"]


class _Ported:
    """Sends to another port: the login itself knows only 443."""

    def __init__(self, connections: Connections, port: str) -> None:
        self._connections, self._port = connections, port

    async def request(self, method: str, url: str, **named: object) -> object:
        host = url.split("/")[2]
        return await self._connections.request(method, url.replace(host, f"{host}:{self._port}"), **named)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("registry", "region", "expected"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "", ("ecr", "eu-west-1", "api.ecr.eu-west-1.amazonaws.com")),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "", ("ecr", "cn-north-1", "api.ecr.cn-north-1.amazonaws.com.cn")),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", "us-east-1", ("ecr", "eu-west-1", "ecr.eu-west-1.api.aws")),
        ("123456789012.dkr-ecr-fips.us-west-2.on.aws", "", ("ecr", "us-west-2", "ecr-fips.us-west-2.api.aws")),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "", ("ecr", "us-east-1", "ecr-fips.us-east-1.amazonaws.com")),
        (
            "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
            "",
            ("ecr", "cn-north-1", "ecr.cn-north-1.api.amazonwebservices.com.cn"),
        ),
        (
            "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
            "",
            ("ecr", "eusc-de-east-1", "api.ecr.eusc-de-east-1.amazonaws.eu"),
        ),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "", ("ecr", "us-iso-east-1", "api.ecr.us-iso-east-1.c2s.ic.gov")),
        (
            "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
            "",
            ("ecr", "us-isob-east-1", "api.ecr.us-isob-east-1.sc2s.sgov.gov"),
        ),
        ("ecr-public.aws.com", "", ("ecr-public", "us-east-1", "ecr-public.us-east-1.api.aws")),
        ("public.ecr.aws", "eu-west-1", ("ecr-public", "us-east-1", "api.ecr-public.us-east-1.amazonaws.com")),
        ("mirror.example", "eu-west-1", ("ecr", "eu-west-1", "api.ecr.eu-west-1.amazonaws.com")),
    ],
)
def test_ecr_endpoints(registry: str, region: str, expected: tuple[str, str, str]) -> None:
    assert endpoint(registry, region) == expected


def test_a_registry_that_is_no_ecr_needs_a_region() -> None:
    with pytest.raises(LoginFailed, match="region"):
        endpoint("mirror.example", "")


@pytest.mark.parametrize("region", ["eu-west-1.evil.example/", "evil.example#", "EU-WEST-1", "a", "eu-west-1\n", "eu_west"])
def test_a_region_leads_to_no_other_host(region: str) -> None:
    with pytest.raises(LoginFailed, match="not an AWS region"):
        endpoint("mirror.example", region)


@pytest.mark.parametrize(
    ("registry", "lent", "words"),
    [
        ("evil.example", True, "gets no password of the proxy's own AWS identity"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example", True, "gets no password"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", False, "AKUA_UPSTREAM_IDENTITY_WORKSPACES"),
    ],
)
async def test_the_proxy_s_own_aws_identity_is_not_anybody_s(
    registry: str, lent: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "_own_credentials", lambda: pytest.fail("nobody may ask for it"))
    made = credential("AWS", registry)
    secret = ResolvedSecret("1", {"region": "eu-west-1"}, "f")
    login = choose_login(made, secret, Connections(UpstreamSettings()), ACCESS, own_identity=lent)
    with pytest.raises(LoginFailed, match=words):
        await login.identity()


def test_whose_own_identity_is_lent_is_a_setting() -> None:
    assert UpstreamSettings().lends_identity("acme")
    assert UpstreamSettings(identity_workspaces=("acme",)).lends_identity("acme")
    assert not UpstreamSettings(identity_workspaces=("acme",)).lends_identity("globex")
    assert not UpstreamSettings(identity_workspaces=()).lends_identity("acme")


def test_requests_are_signed_by_the_published_key_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature, recomputed from the Signature Version 4 specification's own steps."""
    import hashlib
    import hmac

    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    headers = signed_request(
        "https://api.ecr.us-east-1.amazonaws.com/", "T.GetAuthorizationToken", "ecr", "us-east-1", credentials
    )
    stamp, authorization = headers["X-Amz-Date"], headers["Authorization"]
    canonical = "\n".join(
        [
            "POST",
            "/",
            "",
            "content-type:application/x-amz-json-1.1",
            "host:api.ecr.us-east-1.amazonaws.com",
            f"x-amz-date:{stamp}",
            "x-amz-target:T.GetAuthorizationToken",
            "",
            "content-type;host;x-amz-date;x-amz-target",
            hashlib.sha256(b"{}").hexdigest(),
        ]
    )
    scope = f"{stamp[:8]}/us-east-1/ecr/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    for part in (stamp[:8], "us-east-1", "ecr", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    assert authorization.endswith("Signature=" + hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest())


@pytest.mark.parametrize(
    ("registry", "user"),
    [
        ("ghcr.io", "token"),
        ("quay.io", "$oauthtoken"),
        ("registry.gitlab.com", "oauth2"),
        ("eu-docker.pkg.dev", "oauth2accesstoken"),
    ],
)
async def test_bare_tokens_go_with_the_user_that_the_registry_wants(registry: str, user: str) -> None:
    identity = await TokenLogin(registry, {"token": " t \n"}).identity()
    assert identity == UserPassword(user, "t")


def credential(type: str, registry: str = "ghcr.io", **spec: Any) -> RegistryCredential:
    given = {"secretName": "s", **spec} if type != "Anonymous" else spec
    return builders.credential("c", registry=registry, type=type, **given)


@pytest.mark.parametrize(
    ("made", "values", "expected"),
    [
        (credential("Anonymous"), {}, AnonymousLogin),
        (credential("Basic"), {"username": "u", "password": "p"}, BasicLogin),
        (credential("Token"), {"token": "t"}, TokenLogin),
        (credential("Token", login="bearer"), {"token": "t"}, BearerLogin),
        (credential("OAuth"), {"client_id": "i", "client_secret": "s", "token_url": "u"}, OAuthLogin),
        (credential("OAuth", "team.azurecr.io"), {"client_id": "i", "client_secret": "s", "token_url": "u"}, AzureLogin),
        (credential("OAuth", login="azure"), {"client_id": "i", "client_secret": "s", "token_url": "u"}, AzureLogin),
        (credential("AWS", "public.ecr.aws"), {}, AwsLogin),
    ],
)
def test_the_login_fits_type_and_registry(made: RegistryCredential, values: dict[str, str], expected: type) -> None:
    login = choose_login(made, ResolvedSecret("1", values, "f"), Connections(UpstreamSettings()), ACCESS)
    assert isinstance(login, expected)


@pytest.mark.parametrize(
    ("made", "words"), [(credential("Basic"), "lacks username"), (credential("Basic", login="kerberos"), "unknown login")]
)
def test_logins_that_cannot_be_chosen(made: RegistryCredential, words: str) -> None:
    with pytest.raises(LoginFailed, match=words):
        choose_login(made, ResolvedSecret("1", {}, "f"), Connections(UpstreamSettings()), ACCESS)


def test_secrets_hide_in_every_repr() -> None:
    shown = repr(UserPassword("u", "canary")) + repr(ResolvedSecret("1", {"password": "canary"}, "f")) + json.dumps({})
    assert "canary" not in shown


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_the_signer_agrees_with_the_published_test_suite(monkeypatch: pytest.MonkeyPatch, method: str, signature: str) -> None:
    """AWS Signature Version 4 test suite, get-vanilla and post-vanilla."""
    import botocore.auth
    from botocore.awsrequest import AWSRequest

    moment = datetime(2015, 8, 30, 12, 36, 0, tzinfo=UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: moment)
    request = AWSRequest(method=method, url="https://example.amazonaws.com/")
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    botocore.auth.SigV4Auth(credentials, "service", "us-east-1").add_auth(request)
    assert request.headers["Authorization"].endswith(f"Signature={signature}")

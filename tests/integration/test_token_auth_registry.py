"""docker-registry with token authentication: a token service of its own host and port issues RS256 tokens that it checks."""

from __future__ import annotations

import asyncio
import base64
import datetime
import time
from pathlib import Path

import httpx
import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo_registry.image import Repository
from tests.support.docker_registry import PASSWORD, USERNAME, docker_registry
from tests.support.proxied_world import resource, world
from tests.support.pushing import push_repository
from tests.support.tls import client_context, served_tls

ISSUER, SERVICE = "test-issuer", "test-registry"


class TokenService:
    """Gives whoever knows the password what it asks for (distribution, "Token Authentication Implementation")."""

    def __init__(self, folder: Path) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key())
        builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        certificate = builder.sign(self._key, hashes.SHA256())
        self.bundle = folder / "token.pem"
        self.bundle.write_bytes(certificate.public_bytes(Encoding.PEM))
        self._chain = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]
        self.given = 0

    async def answer(self, request: Request) -> Response:
        expected = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {expected}":
            return JSONResponse({"details": "incorrect username or password"}, 401)
        self.given += 1
        return JSONResponse({"token": self.token(request.query_params.getlist("scope")), "expires_in": 60})

    def token(self, scopes: list[str]) -> str:
        access = [
            {"type": kind, "name": name, "actions": actions.split(",")}
            for kind, name, actions in (scope.split(":") for scope in scopes)
        ]
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": USERNAME,
            "aud": SERVICE,
            "exp": now + 60,
            "nbf": now - 5,
            "iat": now,
            "jti": "1",
            "access": access,
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"x5c": self._chain})


async def test_a_registry_that_checks_tokens_of_its_own_service(tmp_path: Path) -> None:
    service = TokenService(tmp_path)
    content = Repository()
    content.add_image([{"a": b"small"}, {"b": bytes(200_000)}], "1.0")
    async with served_tls(Starlette(routes=[Route("/token", service.answer)]), "localhost") as tokens:
        realm = f"https://{tokens.authority}/token"
        auth = f"{{realm: '{realm}', service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {service.bundle}}}"
        with docker_registry(tmp_path / "registry", auth) as registry:
            pushing = {"Authorization": f"Bearer {service.token(['repository:acme/app:pull,push'])}"}
            with httpx.Client(base_url=f"https://{registry.authority}", headers=pushing, verify=client_context()) as client:
                await asyncio.to_thread(push_repository, client, "acme/app", content)
            async with world(tmp_path / "world", upstream_ca_file=str(registry.ca_file)) as akua:
                spec = {"registry": registry.authority, "type": "Basic", "secretName": "tokens", "allowPrivateAddresses": True}
                secret = {"username": USERNAME, "password": PASSWORD}
                await akua.store.create(
                    {
                        "apiVersion": "v1",
                        "kind": "Secret",
                        "metadata": {"name": "tokens", "namespace": "acme"},
                        "stringData": secret,
                    }
                )
                await akua.store.create(resource("RegistryCredential", "tokens", spec))
                token = await akua.install("shop", repositories=[f"{registry.authority}/acme/*"])
                base = f"/v2/{registry.authority.replace(':', '_')}/acme/app"
                accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
                manifest = await akua.pull(token, f"{base}/manifests/1.0", **accept)
                assert manifest.status_code == 200, manifest.text
                for layer in manifest.json()["layers"]:
                    blob = await akua.pull(token, f"{base}/blobs/{layer['digest']}")
                    assert blob.content == content.blobs[layer["digest"]]
                assert service.given == 1

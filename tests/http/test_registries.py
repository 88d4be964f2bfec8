"""Every registry of the mission by its very name: pulled through, refused by, expired in the middle of."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from demo_registry.image import Repository
from registry_access.state.workspace_secrets import WorkspaceSecrets
from tests.support.emulated_registries import KINDS, SECRET, EmulatedRegistry, Kind, emulated
from tests.support.programs import requires_program
from tests.support.proxied_world import WORKSPACE, World, resource, world
from tests.support.tls import certificate_authority


@pytest.fixture(scope="module")
def content() -> Repository:
    repository = Repository()
    repository.add_image([{"a": b"small"}, {"b": bytes(range(256)) * 2000}], "1.0")
    return repository


@asynccontextmanager
async def pulling(
    kind: Kind, content: Repository, folder: Path, **changes: str
) -> AsyncIterator[tuple[World, EmulatedRegistry, str]]:
    """The proxy before an emulator, an install that may pull all of it, and its token."""
    ca_file = folder / "ca.pem"
    certificate_authority().cert_pem.write_to_path(ca_file)
    async with (
        emulated(kind, content) as (registry, overrides),
        world(folder, overrides=overrides, upstream_ca_file=str(ca_file)) as akua,
    ):
        if kind.values:
            await WorkspaceSecrets(akua.store).add(WORKSPACE, kind.name, {**kind.values, **changes})
        spec = {"registry": kind.registry, "type": kind.type, "allowPrivateAddresses": True}
        await akua.store.create(
            resource("RegistryCredential", kind.name, spec | ({"secretName": kind.name} if kind.values else {}))
        )
        token = await akua.install("shop", repositories=[f"{kind.registry}/*"])
        yield akua, registry, token


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_a_pull_gets_every_byte_and_the_credential_goes_where_it_belongs(
    kind: Kind, content: Repository, tmp_path: Path
) -> None:
    async with pulling(kind, content, tmp_path) as (akua, registry, token):
        base = f"/v2/{kind.registry}/acme/app"
        manifest = await akua.pull(token, f"{base}/manifests/1.0")
        assert manifest.status_code == 200, manifest.text
        assert manifest.headers["docker-content-digest"] == content.tags["1.0"]
        for layer in manifest.json()["layers"]:
            assert (await akua.pull(token, f"{base}/blobs/{layer['digest']}")).content == content.blobs[layer["digest"]]
            head = await akua.pull(token, f"{base}/blobs/{layer['digest']}", "HEAD")
            assert (head.status_code, int(head.headers["content-length"])) == (200, layer["size"])
        assert all(not authorization for host, _, _, authorization in registry.seen if host == kind.blobs)
        assert all(token not in authorization for _, _, _, authorization in registry.seen)
        # Entra ID takes two steps; the HEAD of a blob that ECR Public answers with 401 looks like an expired token first.
        assert registry.logins <= {"azure-entra": 2, "ecr-public": 3}.get(kind.name, 1)
        if kind.rate_limit:
            gauge = b'akua_upstream_rate_limit_remaining{credential="docker-hub",registry="docker.io"} 97.0'
            assert gauge in akua.telemetry.exposition()


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.values], ids=lambda kind: kind.name)
async def test_a_credential_that_is_not_accepted_is_said_and_never_shown(
    kind: Kind, content: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with pulling(kind, content, tmp_path) as (akua, registry, token):
        registry.refuse_login = True
        answer = await akua.pull(token, f"/v2/{kind.registry}/acme/app/manifests/1.0")
        assert (answer.status_code, answer.json()["errors"][0]["detail"]["reason"]) == (403, "upstream-unauthorized")
        rows = await akua.audit()
        everything = (
            answer.text + str(rows) + caplog.text + akua.telemetry.exposition().decode() + repr(akua.store.index.secrets())
        )
    for secret in (SECRET, "ecr-password", "acr-refresh", "entra-token", "oauth-access-token", token):
        assert secret not in everything


async def test_a_token_that_expires_between_layers_is_renewed_once_for_all(content: Repository, tmp_path: Path) -> None:
    async with pulling(KINDS["gitlab"], content, tmp_path) as (akua, registry, token):
        path = "/v2/registry.gitlab.com/acme/app/manifests/1.0"
        assert (await akua.pull(token, path)).status_code == 200
        registry.tokens.clear()
        answers = await asyncio.gather(*(akua.pull(token, path) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert registry.logins <= 4  # one at first, one for the burst; a straggler may see the old token refused


async def test_a_secret_rotated_under_load_fails_no_pull(content: Repository, tmp_path: Path) -> None:
    async with pulling(KINDS["harbor"], content, tmp_path) as (akua, registry, token):
        path, failures, stopping = "/v2/harbor.example/acme/app/manifests/1.0", [], asyncio.Event()

        async def load() -> int:
            count = 0
            while not stopping.is_set():
                answer = await akua.pull(token, path)
                count += 1
                if answer.status_code != 200:
                    failures.append(answer.text)
            return count

        loads = [asyncio.create_task(load()) for _ in range(4)]
        registry.more_passwords = ("second-password", "third-password")
        for number in range(3):
            await asyncio.sleep(0.15)
            password = registry.more_passwords[number % 2]
            await WorkspaceSecrets(akua.store).add(WORKSPACE, "harbor", {**KINDS["harbor"].values, "password": password})
        stopping.set()
        assert sum(await asyncio.gather(*loads)) > 20
        assert failures == []
        assert registry.logins >= 2


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_skopeo_pulls_through(kind: Kind, content: Repository, tmp_path: Path) -> None:
    program = requires_program("skopeo")
    async with pulling(kind, content, tmp_path) as (akua, _, token):
        object.__setattr__(akua.proxy.services.challenger, "realm", f"http://{akua.host}/token")
        source = f"docker://{akua.host}/{kind.registry}/acme/app:1.0"
        command: list[str | Path] = [
            program,
            "copy",
            "--src-tls-verify=false",
            f"--src-creds=shop:{token}",
            source,
            f"oci:{tmp_path}/out:1.0",
        ]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        said, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, said.decode()
    assert content.tags["1.0"] in (tmp_path / "out" / "index.json").read_text()
    shutil.rmtree(tmp_path / "out")

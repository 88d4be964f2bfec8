"""Real clients against an upstream with quirks: what they get directly, they get through the proxy."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo_registry.image import Repository
from tests.integration.conftest import API, Content
from tests.support.akua_process import AkuaProcess
from tests.support.containerd import containerd
from tests.support.go_programs import CRANE, REGCTL, REGISTRY_PROGRAMS, go_program
from tests.support.programs import requires_program
from tests.support.proxied_world import basic
from tests.support.quirky_registry import QUIRKS, QuirkyRegistry, quirky_registry, schema_1

CLIENTS = ("crane", "regctl", "skopeo")


@pytest.fixture(scope="module")
def quirky(akua: AkuaProcess, content: Content) -> Iterator[QuirkyRegistry]:
    """An upstream whose repositories are quirks, and install "quirks" that may pull all of them."""
    with quirky_registry(content.app) as registry:
        metadata = {"namespace": "acme", "name": "quirks"}
        spec = {"registry": registry.authority, "type": "Anonymous", "insecure": True, "allowPrivateAddresses": True}
        install = {"repositories": [f"{registry.authority}/acme/*"]}
        akua.drop(
            "quirky",
            {"apiVersion": API, "kind": "RegistryCredential", "metadata": metadata, "spec": spec},
            {"apiVersion": API, "kind": "Install", "metadata": metadata, "spec": install},
        )
        yield registry


@pytest.fixture(scope="module")
def token(akua: AkuaProcess, quirky: QuirkyRegistry) -> str:
    return akua.token("quirks")


class Client:
    """One program, logged in to one registry that speaks plain HTTP."""

    def __init__(self, name: str, registry: str, token: str, folder: Path) -> None:
        self._name, self._registry, self._token, self._folder = name, registry, token, folder

    def tags(self, repository: str) -> list[str]:
        if self._name == "skopeo":
            return list(json.loads(self._skopeo("list-tags", "", f"docker://{self._registry}/{repository}"))["Tags"])
        if self._name == "regctl":
            return self._regctl("tag", "ls", f"{self._registry}/{repository}").split()
        return self._crane("ls", f"{self._registry}/{repository}").split()

    def copy(self, repository: str, tag: str) -> set[str]:
        """The digests of everything that came."""
        source, target = f"{self._registry}/{repository}:{tag}", self._folder / "copy"
        if self._name == "skopeo":
            self._skopeo("copy", "src-", f"docker://{source}", f"oci:{target}:{tag}")
        elif self._name == "regctl":
            self._regctl("image", "copy", source, f"ocidir://{target}:{tag}")
        else:
            self._crane("pull", "--format=oci", source, str(target))
        return {f"sha256:{path.name}" for path in (target / "blobs" / "sha256").iterdir()}

    def inspect(self, image: str) -> str:
        """A manifest as it is, its digest checked; skopeo's."""
        return self._skopeo("inspect", "", "--raw", f"docker://{self._registry}/{image}")

    def _skopeo(self, command: str, side: str, *arguments: str) -> str:
        program = requires_program("skopeo")
        login = [f"--{side}creds=quirks:{self._token}"] if self._token else []
        return self._run(program, command, f"--{side}tls-verify=false", *login, *arguments)

    def _regctl(self, *arguments: str) -> str:
        login = f",user=quirks,pass={self._token}" if self._token else ""
        program = go_program(REGCTL, REGISTRY_PROGRAMS)
        return self._run(program, "--host", f"reg={self._registry},tls=disabled{login}", *arguments)

    def _crane(self, *arguments: str) -> str:
        auth = {"auths": {self._registry: {"auth": basic(self._token, "quirks").removeprefix("Basic ")}}} if self._token else {}
        (self._folder / "config.json").write_text(json.dumps(auth))
        return self._run(go_program(CRANE, REGISTRY_PROGRAMS), *arguments)

    def _run(self, program: Path, *arguments: str) -> str:
        environment = {**os.environ, "DOCKER_CONFIG": str(self._folder), "REGCTL_CONFIG": str(self._folder / "regctl.json")}
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, timeout=60, env=environment, cwd=self._folder
        )
        assert done.returncode == 0, f"{self._name} {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout


def image(content: Repository, tag: str) -> set[str]:
    digest = content.tags[tag]
    manifest = json.loads(content.manifests[digest].content)
    return {digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}


@pytest.mark.parametrize("quirk", sorted(QUIRKS))
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_gets_through_the_proxy_what_it_gets_directly(
    akua: AkuaProcess, quirky: QuirkyRegistry, content: Content, token: str, tmp_path: Path, client: str, quirk: str
) -> None:
    (tmp_path / "direct").mkdir()
    (tmp_path / "proxied").mkdir()
    direct = Client(client, quirky.authority, "", tmp_path / "direct")
    proxied = Client(client, akua.host, token, tmp_path / "proxied")
    name = f"{quirky.authority.replace(':', '_')}/acme/{quirk}"
    assert image(content.app, "1.0") <= proxied.copy(name, "1.0")
    listed = proxied.tags(name)
    assert sorted(listed) == sorted(content.app.tags)
    if quirk != "cut":  # of which a direct client sees the cut
        assert image(content.app, "1.0") <= direct.copy(f"acme/{quirk}", "1.0")
        assert direct.tags(f"acme/{quirk}") == listed


@pytest.mark.parametrize("quirk", sorted(QUIRKS))
def test_containerd_pulls_as_kubelet_asks_it_to(
    akua: AkuaProcess, quirky: QuirkyRegistry, token: str, tmp_path_factory: pytest.TempPathFactory, quirk: str
) -> None:
    with containerd(tmp_path_factory.mktemp("containerd")) as runtime:  # one each: what another one pulled is not asked for again
        name = f"{akua.host}/{quirky.authority.replace(':', '_')}/acme/{quirk}:1.0"
        assert runtime.pull(name, "quirks", token).startswith("sha256:")


def test_skopeo_reads_a_schema_1_manifest_by_the_digest_of_what_was_signed(
    akua: AkuaProcess, quirky: QuirkyRegistry, token: str, tmp_path: Path
) -> None:
    direct = Client("skopeo", quirky.authority, "", tmp_path)
    proxied = Client("skopeo", akua.host, token, tmp_path)
    body, digest = schema_1()
    for reference in (":1.0", f"@{digest}"):
        assert direct.inspect(f"acme/signed{reference}") == body
        assert proxied.inspect(f"{quirky.authority.replace(':', '_')}/acme/signed{reference}") == body

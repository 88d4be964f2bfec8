"""The public conformance suite through the proxy: whatever an upstream passes by itself, it passes behind us."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import API, Content
from tests.support.akua_process import AkuaProcess
from tests.support.conformance import run_conformance
from tests.support.docker_registry import PASSWORD, USERNAME, DockerRegistry
from tests.support.pushing import push_repository
from tests.support.referring_registry import referring_registry

REPOSITORY = "acme/app"


@dataclass(frozen=True, slots=True)
class Upstream:
    authority: str
    ca_file: str = ""
    user: str = ""
    password: str = ""


@pytest.fixture(scope="module")
def referring(akua: AkuaProcess, content: Content) -> Iterator[Upstream]:
    """An upstream with referrers, and install "refer" that may pull from it."""
    with referring_registry() as authority:
        with httpx.Client(base_url=f"http://{authority}", timeout=60) as client:
            push_repository(client, REPOSITORY, content.app)
        metadata = {"namespace": "acme", "name": "refer"}
        spec = {"registry": authority, "type": "Anonymous", "insecure": True, "allowPrivateAddresses": True}
        akua.drop(
            "referring",
            {"apiVersion": API, "kind": "RegistryCredential", "metadata": metadata, "spec": spec},
            {"apiVersion": API, "kind": "Install", "metadata": metadata, "spec": {"repositories": [f"{authority}/{REPOSITORY}"]}},
        )
        yield Upstream(authority)


@pytest.mark.parametrize("version", ["1.1", "dev"])
@pytest.mark.parametrize("kind", ["docker-registry", "referring"])
def test_what_an_upstream_passes_it_passes_through_the_proxy(
    akua: AkuaProcess, upstream: DockerRegistry, referring: Upstream, content: Content, tmp_path: Path, kind: str, version: str
) -> None:
    install, asked = "refer", referring
    if kind == "docker-registry":
        install, asked = "shop", Upstream(upstream.authority, str(upstream.ca_file), USERNAME, PASSWORD)
    direct = run_conformance(
        tmp_path,
        asked.authority,
        REPOSITORY,
        content.app,
        version=version,
        ca_file=asked.ca_file,
        user=asked.user,
        password=asked.password,
    )
    name = f"{asked.authority.replace(':', '_')}/{REPOSITORY}"
    proxied = run_conformance(tmp_path, akua.host, name, content.app, version=version, user=install, password=akua.token(install))
    passed = {test: number for test, number in direct.items() if test[1] == "Pass"}
    assert {test for test, _ in passed} >= {"/ping", "/read-only/pull/blob-get"}
    assert {test: proxied[test] for test in passed} == passed
    failures = {test: number for test, number in proxied.items() if test[1] not in ("Pass", "Disabled", "Skip")}
    assert set(failures) <= {test for test in direct if test[1] == "FAIL"}

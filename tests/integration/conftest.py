"""A real private registry with content, and a real `akua serve` in front of it, one of each for a module."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from demo_registry.image import INDEX_TYPE, MANIFEST_TYPE, Repository
from tests.support.akua_process import AkuaProcess, akua_serve
from tests.support.docker_registry import PASSWORD, USERNAME, DockerRegistry, docker_registry
from tests.support.pushing import push_repository

API = "registry.akua.dev/v1alpha1"


@dataclass(frozen=True, slots=True)
class Content:
    """acme/app: tags 1.0 (an image), multi (an index of two); a signature that refers to 1.0. acme/other: 1.0."""

    app: Repository
    other: Repository


def make_content() -> Content:
    noise = random.Random(7)
    repositories = []
    for name in ("app", "other"):
        repository = Repository()
        layers = [{"etc/name": name.encode()}, {"data/large": noise.randbytes(8_000_000)}]
        amd64 = repository.add_image(layers, "1.0", "amd64")
        arm64 = repository.add_image([{"etc/name": name.encode() + b"-arm"}], "1.0-arm64", "arm64")
        platforms = [
            descriptor | {"platform": {"os": "linux", "architecture": architecture}}
            for descriptor, architecture in ((amd64, "amd64"), (arm64, "arm64"))
        ]
        repository.add_manifest({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": platforms}, "multi")
        empty = repository.add_blob(b"{}", "application/vnd.oci.empty.v1+json")
        signature = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": "application/vnd.example.signature",
            "config": empty,
            "layers": [repository.add_blob(b"signed", "application/octet-stream")],
            "subject": amd64,
        }
        # The tag scheme that clients fall back to where a registry has no referrers API.
        repository.add_manifest(signature, amd64["digest"].replace(":", "-"))
        repositories.append(repository)
    return Content(*repositories)


@pytest.fixture(scope="module")
def content() -> Content:
    return make_content()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory, content: Content) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        with running.client() as client:
            push_repository(client, "acme/app", content.app)
            push_repository(client, "acme/other", content.other)
        yield running


@pytest.fixture(scope="module")
def akua(tmp_path_factory: pytest.TempPathFactory, upstream: DockerRegistry) -> Iterator[AkuaProcess]:
    with akua_serve(tmp_path_factory.mktemp("akua"), upstream_ca_file=str(upstream.ca_file)) as running:
        running.drop("workspace", *workspace(upstream.authority))
        yield running


def workspace(registry: str) -> tuple[dict[str, Any], ...]:
    """A workspace with a credential for `registry`, a product acme/app, and installs shop and blog of it."""
    metadata = {"namespace": "acme"}
    spec = {"registry": registry, "type": "Basic", "secretName": "upstream", "allowPrivateAddresses": True}
    secret = {"username": USERNAME, "password": PASSWORD}
    return (
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "acme", "labels": {"registry.akua.dev/workspace": "true"}},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata | {"name": "upstream"}, "stringData": secret},
        {"apiVersion": API, "kind": "RegistryCredential", "metadata": metadata | {"name": "upstream"}, "spec": spec},
        {
            "apiVersion": API,
            "kind": "Product",
            "metadata": metadata | {"name": "app"},
            "spec": {"repositories": [f"{registry}/acme/app"]},
        },
        *(
            {"apiVersion": API, "kind": "Install", "metadata": metadata | {"name": name}, "spec": {"product": "app"}}
            for name in ("shop", "blog")
        ),
    )


def proxied(akua: AkuaProcess, upstream: DockerRegistry, repository: str) -> str:
    """The repository's name at the proxy."""
    return f"{akua.host}/{upstream.authority.replace(':', '_')}/{repository}"

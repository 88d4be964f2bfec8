"""A node that cannot resolve the proxy's name pulls through its containerd's hosts.toml, as node-trust writes it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_trust.hosts_folder import HostsFolder, Trust
from tests.integration.conftest import workspace
from tests.support.akua_process import AkuaProcess, akua_serve
from tests.support.containerd import Containerd, containerd
from tests.support.docker_registry import DockerRegistry
from tests.support.tls import certificate_authority


class SilentName:
    """A listener where the proxy's own name leads: it counts who comes, and answers nobody."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.visits = 0
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                self._listener.accept()[0].close()
            except OSError:
                return
            self.visits += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(scope="module")
def name() -> Iterator[SilentName]:
    silent = SilentName()
    yield silent
    silent.close()


@pytest.fixture(scope="module")
def akua(tmp_path_factory: pytest.TempPathFactory, upstream: DockerRegistry, name: SilentName) -> Iterator[AkuaProcess]:
    """A proxy with TLS, whose images carry a name that does not lead to it."""
    folder = tmp_path_factory.mktemp("akua")
    certificate = certificate_authority().issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "tls.pem")
    tls = {"proxy_tls_certificate": str(folder / "tls.pem"), "proxy_tls_key": str(folder / "tls.pem")}
    host = {"host": name.host, "external_url": f"https://{name.host}"}
    with akua_serve(folder, upstream_ca_file=str(upstream.ca_file), **tls, **host) as running:
        running.drop("workspace", *workspace(upstream.authority))
        yield running


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory, akua: AkuaProcess, name: SilentName) -> Iterator[Containerd]:
    with containerd(tmp_path_factory.mktemp("containerd")) as running:
        ca = certificate_authority().cert_pem.bytes().decode()
        HostsFolder(running.certs_d, name.host).write(Trust(f"https://{akua.host}", ca))
        yield running


def test_containerd_pulls_by_the_service_address_and_never_goes_to_the_name(
    akua: AkuaProcess, upstream: DockerRegistry, runtime: Containerd, name: SilentName
) -> None:
    image = f"{name.host}/{upstream.authority.replace(':', '_')}/acme/app:1.0"
    assert runtime.pull(image, "shop", akua.token("shop")).startswith("sha256:")
    rows = [row for row in akua.audit("--install", "shop") if row["user_agent"].startswith("containerd")]
    assert {row["operation"] for row in rows} >= {"pull-manifest", "pull-blob"}
    assert {row["result"] for row in rows} == {"allowed"}
    assert name.visits == 0


@pytest.mark.parametrize(
    ("install", "repository", "says"),
    [("shop", "acme/other", "403 Forbidden: not-entitled"), ("nobody", "acme/app", "401 Unauthorized: token-invalid")],
)
def test_a_refusal_keeps_its_reason(
    akua: AkuaProcess, upstream: DockerRegistry, runtime: Containerd, name: SilentName, install: str, repository: str, says: str
) -> None:
    token = akua.token("shop") if install == "shop" else "nonsense"
    with pytest.raises(RuntimeError, match=re.escape(says) + r" dec_[0-9a-f]{16}"):
        runtime.pull(f"{name.host}/{upstream.authority.replace(':', '_')}/{repository}:1.0", install, token)
    assert name.visits == 0


def test_a_revocation_counts_for_the_next_pull(
    akua: AkuaProcess, upstream: DockerRegistry, runtime: Containerd, name: SilentName, tmp_path: Path
) -> None:
    image = f"{name.host}/{upstream.authority.replace(':', '_')}/acme/app:1.0-arm64"
    token, neighbour = akua.token("shop"), akua.token("blog")
    akua.run("install", "revoke", "shop", "--workspace", "acme")
    try:
        with pytest.raises(RuntimeError, match=r"403 Forbidden: install-revoked dec_[0-9a-f]{16}"):
            runtime.pull(image, "shop", token)
        assert runtime.pull(image, "blog", neighbour)
    finally:
        akua.run("install", "restore", "shop", "--workspace", "acme")
    assert runtime.pull(image, "shop", token)
    assert name.visits == 0

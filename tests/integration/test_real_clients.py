"""skopeo, podman and containerd pull through a real `akua serve` from a real private registry."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import Content, proxied
from tests.support.akua_process import AkuaProcess
from tests.support.containerd import Containerd, containerd
from tests.support.docker_registry import PASSWORD, DockerRegistry
from tests.support.programs import requires_program
from tests.support.proxied_world import basic


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def skopeo(akua: AkuaProcess, install: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run(requires_program("skopeo"), *arguments, "--src-tls-verify=false", f"--src-creds={install}:{akua.token(install)}")


def test_skopeo_copies_an_index_with_digests_equal(
    akua: AkuaProcess, upstream: DockerRegistry, content: Content, tmp_path: Path
) -> None:
    copied = skopeo(
        akua, "shop", "copy", "--all", f"docker://{proxied(akua, upstream, 'acme/app')}:multi", f"oci:{tmp_path}/out:multi"
    )
    assert copied.returncode == 0, copied.stderr
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["manifests"][0]["digest"] == content.app.tags["multi"]
    for digest, blob in content.app.blobs.items():
        path = tmp_path / "out" / "blobs" / "sha256" / digest.removeprefix("sha256:")
        if path.exists():
            assert path.read_bytes() == blob
    assert sum(1 for _ in (tmp_path / "out" / "blobs" / "sha256").iterdir()) >= 6


def test_skopeo_reads_tags_and_a_signature_by_its_fallback_tag(
    akua: AkuaProcess, upstream: DockerRegistry, content: Content
) -> None:
    name = proxied(akua, upstream, "acme/app")
    listed = run(
        requires_program("skopeo"), "list-tags", "--tls-verify=false", f"--creds=shop:{akua.token('shop')}", f"docker://{name}"
    )
    assert listed.returncode == 0, listed.stderr
    signature = content.app.tags["1.0"].replace(":", "-")
    assert sorted(json.loads(listed.stdout)["Tags"]) == sorted(["1.0", "1.0-arm64", "multi", signature])
    inspected = run(
        requires_program("skopeo"),
        "inspect",
        "--raw",
        "--tls-verify=false",
        f"--creds=shop:{akua.token('shop')}",
        f"docker://{name}:{signature}",
    )
    assert json.loads(inspected.stdout)["artifactType"] == "application/vnd.example.signature"


def test_what_was_not_bought_is_refused_with_reason_and_decision(
    akua: AkuaProcess, upstream: DockerRegistry, tmp_path: Path
) -> None:
    refused = skopeo(akua, "shop", "copy", f"docker://{proxied(akua, upstream, 'acme/other')}:1.0", f"oci:{tmp_path}/out:1.0")
    assert refused.returncode != 0
    row = akua.audit("--install", "shop", "--result", "refused")[0]
    assert row["reason"] == "not-entitled"
    assert row["decision_id"] in refused.stderr


def test_skopeo_says_why_a_revoked_install_gets_no_token(akua: AkuaProcess, upstream: DockerRegistry, tmp_path: Path) -> None:
    akua.run("install", "revoke", "blog", "--workspace", "acme")
    try:
        name = proxied(akua, upstream, "acme/app")
        refused = skopeo(akua, "blog", "copy", f"docker://{name}:1.0", f"oci:{tmp_path}/out:1.0")
        assert "install blog is revoked" in refused.stderr
    finally:
        akua.run("install", "restore", "blog", "--workspace", "acme")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """podman wants a runroot of at most 50 characters."""
    with tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as folder:
        yield Path(folder)


def test_podman_pulls_and_sees_the_image(
    akua: AkuaProcess, upstream: DockerRegistry, content: Content, tmp_path: Path, short_folder: Path
) -> None:
    program = requires_program("podman")
    configuration = tmp_path / "containers.conf"
    configuration.write_text(
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        '[containers]\ndefault_ulimits = ["nofile=1024:1024"]\n'
    )
    environment = {"CONTAINERS_CONF": str(configuration), "XDG_RUNTIME_DIR": str(tmp_path)}
    base = (program, "--root", tmp_path / "root", "--runroot", short_folder, "--storage-driver", "vfs")
    name = f"{proxied(akua, upstream, 'acme/app')}:1.0"
    pulled = run(*base, "pull", "--tls-verify=false", f"--creds=shop:{akua.token('shop')}", name, **environment)
    assert pulled.returncode == 0, pulled.stderr
    shown = run(*base, "image", "inspect", name, **environment)
    assert json.loads(shown.stdout)[0]["Digest"] == content.app.tags["1.0"]
    refused = run(*base, "pull", "--tls-verify=false", "--creds=shop:wrong", name.replace("app", "other"), **environment)
    assert refused.returncode != 0


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    with containerd(tmp_path_factory.mktemp("containerd")) as running:
        yield running


def test_containerd_pulls_as_kubelet_asks_it_to(
    akua: AkuaProcess, upstream: DockerRegistry, content: Content, runtime: Containerd
) -> None:
    name = f"{proxied(akua, upstream, 'acme/app')}:1.0"
    reference = runtime.pull(name, "shop", akua.token("shop"))
    assert reference.startswith("sha256:")
    row = next(row for row in akua.audit("--install", "shop") if row["user_agent"].startswith("containerd"))
    assert row["result"] == "allowed"
    assert row["digest"] in {content.app.tags["1.0"], *content.app.blobs}


def test_containerd_is_refused_when_the_install_is_revoked_and_its_neighbour_is_not(
    akua: AkuaProcess, upstream: DockerRegistry, runtime: Containerd
) -> None:
    name = f"{proxied(akua, upstream, 'acme/app')}:1.0-arm64"
    token, neighbour = akua.token("shop"), akua.token("blog")
    akua.run("install", "revoke", "shop", "--workspace", "acme")
    try:
        with pytest.raises(RuntimeError, match=r"403 Forbidden: install-revoked dec_[0-9a-f]{16}"):
            runtime.pull(name, "shop", token)
        inspected = run(requires_program("skopeo"), "inspect", "--tls-verify=false", f"--creds=shop:{token}", f"docker://{name}")
        assert "install shop is revoked" in inspected.stderr
        assert runtime.pull(name, "blog", neighbour)
    finally:
        akua.run("install", "restore", "shop", "--workspace", "acme")
    assert runtime.pull(name, "shop", token)


def test_nothing_that_leaves_the_process_holds_a_secret(akua: AkuaProcess) -> None:
    everything = akua.logs() + httpx.get(f"http://{akua.operations}/metrics").text
    everything += akua.run("audit", "list", "--output", "json").stdout
    for secret in (PASSWORD, akua.token("shop"), "eyJ"):
        assert secret not in everything


def test_a_large_layer_streams_through_in_flat_memory_and_a_revocation_cuts_it(
    akua: AkuaProcess, upstream: DockerRegistry, tmp_path: Path
) -> None:
    """1 GiB: the process grows by far less, and a client that is cut knows that it was."""
    size = 1024**3
    digest = _push_sparse(upstream, size, tmp_path)
    url = f"http://{akua.host}/v2/{upstream.authority.replace(':', '_')}/acme/app/blobs/{digest}"
    headers = {"Authorization": basic(akua.token("shop"), "shop")}
    before, peak, received = akua.resident_kilobytes(), 0, 0
    with httpx.stream("GET", url, headers=headers, timeout=60) as answer:
        for number, piece in enumerate(answer.iter_raw(1024 * 1024)):
            received += len(piece)
            if number % 64 == 0:
                peak = max(peak, akua.resident_kilobytes())
    assert received == size
    assert peak - before < 64 * 1024

    with httpx.stream("GET", url, headers=headers, timeout=60) as answer:
        pieces = answer.iter_raw(65536)
        next(pieces)
        akua.run("install", "revoke", "shop", "--workspace", "acme")
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            list(pieces)
    akua.run("install", "restore", "shop", "--workspace", "acme")
    assert any(row["result"] == "cut" and row["reason"] == "install-revoked" for row in akua.audit("--install", "shop"))


def _push_sparse(upstream: DockerRegistry, size: int, folder: Path) -> str:
    """Zeros, pushed without being held in memory."""
    import hashlib

    piece, hasher = bytes(1024 * 1024), hashlib.sha256()
    for _ in range(size // len(piece)):
        hasher.update(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    with upstream.client() as client:
        started = client.post("/v2/acme/app/blobs/uploads/")
        location = httpx.URL(started.headers["location"]).copy_merge_params({"digest": digest})
        content = (piece for _ in range(size // len(piece)))
        client.put(location, content=content, headers={"Content-Length": str(size)}).raise_for_status()
    return digest

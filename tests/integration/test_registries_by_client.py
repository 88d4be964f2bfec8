"""podman and containerd's CRI pull through every emulated registry, by its own name. (skopeo: tests/http/test_registries.py)"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo_registry.image import Repository
from tests.http.test_registries import pulling
from tests.support.containerd import Containerd, containerd
from tests.support.emulated_registries import KINDS, Kind
from tests.support.programs import requires_program


@pytest.fixture(scope="module")
def content() -> Repository:
    repository = Repository()
    repository.add_image([{"a": b"small"}, {"b": bytes(range(256)) * 2000}], "1.0")
    return repository


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    with containerd(tmp_path_factory.mktemp("containerd")) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_podman_and_containerd_pull_through(kind: Kind, content: Repository, tmp_path: Path, runtime: Containerd) -> None:
    program = requires_program("podman")
    configuration = tmp_path / "containers.conf"
    configuration.write_text('[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
    async with pulling(kind, content, tmp_path) as (akua, _, token):
        # The realm must lead to this proxy, whose port is known only now.
        object.__setattr__(akua.proxy.services.challenger, "realm", f"http://{akua.host}/token")
        name = f"{akua.host}/{kind.registry}/acme/app:1.0"
        assert (await asyncio.to_thread(runtime.pull, name, "shop", token)).startswith("sha256:")
        with tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as short:
            command: list[str | Path] = [program, "--root", tmp_path / "root", "--runroot", short, "--storage-driver", "vfs"]
            command += ["pull", "--tls-verify=false", f"--creds=shop:{token}", name]
            environment = {**os.environ, "CONTAINERS_CONF": str(configuration), "XDG_RUNTIME_DIR": short}
            process = await asyncio.create_subprocess_exec(
                *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            said, _ = await asyncio.wait_for(process.communicate(), 60)
            assert process.returncode == 0, said.decode()
        row = (await akua.audit(install="shop"))[0]
        assert row.outcome is not None
        assert row.outcome.result == "allowed"

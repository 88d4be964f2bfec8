"""A leader that starts where all is right already: it looks at everything and writes nothing; a change costs what it concerns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from programs.telemetry import Telemetry
from registry_access.settings import load_settings
from registry_access.state.kubernetes import KubernetesApi, KubernetesStore
from tests.support.kubernetes import ControlPlane, running_control_plane
from tests.support.large_world import LargeWorld, WorldSize
from tests.support.state_conformance import until
from webhook.assembly import build_install_sync

SIZE = WorldSize(namespaces=60, workspaces=4, installs=200, grants=800)
_OWN = ("leases", "akua-heartbeat", "namespaces/akua-system")  # who leads, and that watches are alive


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("large")) as plane:
        yield plane


async def test_a_start_writes_nothing_and_a_change_only_what_it_concerns(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = LargeWorld(SIZE)
    await world.seed(plane.access())
    writes: list[str] = []
    request = KubernetesApi.request

    async def noted(api: KubernetesApi, method: str, path: str, **options: Any) -> dict[str, Any]:
        if method != "GET" and not any(own in path for own in _OWN):
            writes.append(f"{method} {path}")
        return await request(api, method, path, **options)

    monkeypatch.setattr(KubernetesApi, "request", noted)
    store = KubernetesStore(plane.access(), pull_secrets=True)
    await store.start()
    telemetry = Telemetry()
    parts = await build_install_sync(load_settings({"AKUA_HOST": world.host, "AKUA_STATE": "kubernetes"}), store, telemetry)
    began = time.monotonic()
    running = asyncio.create_task(parts.controller.run())
    looked = telemetry.install_syncs.labels("synced")._value.get
    await until(lambda: looked() >= SIZE.installs, 60)
    print(f"{SIZE}: looked at in {time.monotonic() - began:.2f} s")
    assert writes == []
    plane.kubectl("label", "namespace", world.targets(0)[0], "team=other", "--overwrite")
    await asyncio.sleep(1)
    assert looked() == SIZE.installs, "no install asks for that label"
    patch = '{"spec": {"repositories": ["ghcr.io/a/b"]}}'
    plane.kubectl("-n", world.workspace(0), "patch", "product", "product-0", "--type", "merge", "-p", patch)
    concerned = [number for number in range(SIZE.installs) if (number % SIZE.workspaces, number % 10) == (0, 0)]
    grants = {f"PATCH /pullgrants/{world.install(number)}" for number in concerned}
    await until(lambda: len(writes) >= len(concerned) * 4 + len(concerned), 30)
    await asyncio.sleep(0.5)
    written = [write for write in writes if "/pullgrants/" in write]
    assert {f"PATCH /pullgrants/{write.rpartition('/')[2]}" for write in written} == grants
    assert len(written) == len(concerned) * 4
    assert [write for write in writes if "secrets" in write] == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await parts.close()
    await store.stop()

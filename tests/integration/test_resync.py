"""Asking for a sync in a real cluster: by kubectl's annotation, and by `akua install sync`, which waits for the answer."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.test_install_sync import INSTALL, condition, namespaces, webhook_replica
from tests.support.kubernetes import ControlPlane, control_plane
from tests.support.state_conformance import until

__all__ = ["control_plane"]
BLOG = INSTALL.replace("name: shop", "name: blog").replace("app: web", "app: blog")


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    namespaces(control_plane, "acme", "akua-system", "shop-prod")
    control_plane.kubectl("apply", "-f", "-", input=f"{INSTALL}---{BLOG}")
    yield control_plane
    control_plane.kubectl("-n", "acme", "delete", "installs", "--all")
    for kind in ("secrets", "pullgrants"):
        control_plane.kubectl("-n", "shop-prod", "delete", kind, "--all")
    control_plane.kubectl("annotate", "namespace", "acme", "registry.akua.dev/sync-requested-")


async def akua(plane: ControlPlane, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output, errors of the command in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AKUA_")}
    environment |= {"KUBECONFIG": str(plane.kubeconfig), "AKUA_STATE": "kubernetes", "AKUA_WORKSPACE": "acme"}
    program = Path(sys.executable).parent / "akua"
    running = await asyncio.create_subprocess_exec(
        program, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(running.communicate(), 60)
    return running.returncode or 0, out.decode(), err.decode()


def answered(plane: ControlPlane, field: str, install: str = "shop") -> str:
    return plane.kubectl("-n", "acme", "get", "install", install, "-o", f"jsonpath={{.status.{field}}}")


async def test_kubectl_annotate_is_answered_in_the_status(cluster: ControlPlane) -> None:
    async with webhook_replica(cluster):
        await until(lambda: condition(cluster) == "True Provisioned")
        cluster.kubectl("-n", "acme", "annotate", "install", "shop", "registry.akua.dev/sync-requested=please")
        await until(lambda: answered(cluster, "observedSyncRequest") == "please")
        assert answered(cluster, "observedSyncRequest", "blog") == ""
        assert answered(cluster, "lastSyncTime")
        cluster.kubectl("annotate", "namespace", "acme", "registry.akua.dev/sync-requested=all", "--overwrite")
        for install in ("shop", "blog"):
            await until(lambda install=install: answered(cluster, "observedWorkspaceSyncRequest", install) == "all")  # type: ignore[misc]


async def test_the_command_asks_the_leader_and_waits_for_each(cluster: ControlPlane) -> None:
    async with webhook_replica(cluster):
        await until(lambda: condition(cluster) == "True Provisioned")
        code, out, err = await akua(cluster, "install", "sync", "--all")
        assert code == 0, err
        assert {line.split()[0] for line in out.splitlines()[1:]} == {"blog", "shop"}
        assert "shop: 1 namespace" in err.splitlines()
        assert answered(cluster, "observedWorkspaceSyncRequest")
        code, out, _ = await akua(cluster, "install", "sync", "shop", "-o", "json")
        assert code == 0
        (found,) = json.loads(out)
        assert found["status"]["observedSyncRequest"] == found["metadata"]["annotations"]["registry.akua.dev/sync-requested"]
        cluster.kubectl("-n", "shop-prod", "delete", "secret", "akua-pull-shop")
        await until(lambda: "akua-pull-shop" in cluster.kubectl("-n", "shop-prod", "get", "secrets", "-o", "name"))
        targets = json.dumps({"spec": {"targets": [{"namespace": "nowhere"}]}})
        cluster.kubectl("-n", "acme", "patch", "install", "shop", "--type", "merge", "-p", targets)
        code, out, _ = await akua(cluster, "install", "sync", "shop")
        assert (code, "does not exist" in out) == (1, True)


async def test_without_a_leader_it_says_so_at_once(cluster: ControlPlane) -> None:
    code, _, err = await akua(cluster, "install", "sync", "shop")
    assert code == 1
    assert "no install sync runs in this cluster" in err

"""Installs in a remote cluster, deleted: cleared there whatever happens meanwhile, and nothing is ever held up for long."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry_access.state.kubernetes.kubeconfig.foreign import foreign_access
from registry_access.state.kubernetes.polled_store import PolledStore
from tests.integration.test_install_sync import INSTALL, condition, grant, namespaces, webhook_replica
from tests.support.kubernetes import ControlPlane, control_plane, running_control_plane, running_controllers
from tests.support.state_conformance import until
from webhook.install_sync.objects import removal

__all__ = ["control_plane"]
FINALIZER = "registry.akua.dev/remote-cleanup"


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Another cluster."""
    with running_control_plane(tmp_path_factory.mktemp("remote")) as plane:
        namespaces(plane, "shop-prod")
        yield plane


@pytest.fixture
def cluster(control_plane: ControlPlane, far: ControlPlane, tmp_path: Path) -> Iterator[ControlPlane]:
    """Namespaces go here as they go elsewhere: each test has a workspace of its own, which is deleted with all that is in it."""
    namespaces(control_plane, "acme", "akua-system", "shop-prod")
    send_far(control_plane, far)
    with running_controllers(control_plane, tmp_path, "namespace-controller"):
        yield control_plane
        if not gone(control_plane):
            let_go(control_plane)
        control_plane.kubectl("delete", "namespace", "acme", "--ignore-not-found", "--timeout=60s")
    for kind in ("secrets", "pullgrants"):
        far.kubectl("-n", "shop-prod", "delete", kind, "--all")


def send_far(plane: ControlPlane, far: ControlPlane, server: str = "") -> None:
    """The Secret `far` with the other cluster's kubeconfig, and the install that goes there."""
    config = yaml.safe_load(far.kubeconfig.read_text())
    there = config["clusters"][0]["cluster"]
    there.pop("certificate-authority")
    there["certificate-authority-data"] = base64.b64encode(far.certificate.read_bytes()).decode()
    there["server"] = server or there["server"]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "far", "namespace": "acme"},
        "stringData": {"kubeconfig": yaml.safe_dump(config)},
    }
    install: dict[str, Any] = yaml.safe_load(INSTALL)
    install["spec"]["cluster"] = {"kubeconfigSecret": "far"}
    for manifest in (secret, install):
        plane.kubectl("apply", "-f", "-", input=json.dumps(manifest))


@contextlib.asynccontextmanager
async def leader(plane: ControlPlane) -> AsyncIterator[None]:
    async with webhook_replica(plane) as (_, parts):
        # The far API server stands on loopback here, which is refused otherwise.
        parts.clusters._connect = lambda text: PolledStore(foreign_access(text, allow_loopback=True), fresh_seconds=0.2)
        yield


def left(far: ControlPlane) -> list[str]:
    return far.kubectl("-n", "shop-prod", "get", "secrets,pullgrants", "-o", "name").split()


def gone(plane: ControlPlane) -> bool:
    return not plane.kubectl("-n", "acme", "get", "install", "shop", "--ignore-not-found", "-o", "name").strip()


def let_go(plane: ControlPlane) -> None:
    """As docs/installs.md says it for when we are not there."""
    patch = '{"metadata": {"finalizers": null}}'
    plane.kubectl("-n", "acme", "patch", "install", "shop", "--type", "merge", "-p", patch)


def told(plane: ControlPlane) -> list[str]:
    events = json.loads(plane.kubectl("-n", "acme", "get", "events.events.k8s.io", "-o", "json"))["items"]
    return [event["note"] for event in events if event["reason"] == "RemoteObjectsLeft"]


async def test_a_remote_cluster_is_provisioned_and_cleared(cluster: ControlPlane, far: ControlPlane) -> None:
    async with leader(cluster):
        await until(lambda: condition(cluster) == "True Provisioned")
        assert left(far) == ["secret/akua-pull-shop", "pullgrant.registry.akua.dev/shop"]
        assert grant(far)["images"] == ["ghcr.io/acme/app"]
        assert not cluster.kubectl("-n", "shop-prod", "get", "secrets,pullgrants", "-o", "name").strip()
        install = json.loads(cluster.kubectl("-n", "acme", "get", "install", "shop", "-o", "json"))
        assert (install["metadata"]["finalizers"], install["status"]["clusters"]) == ([FINALIZER], ["far"])
        await asyncio.to_thread(cluster.kubectl, "-n", "acme", "delete", "install", "shop", "--timeout=30s")
        assert left(far) == []


async def test_who_leads_next_clears_what_was_deleted_meanwhile(cluster: ControlPlane, far: ControlPlane) -> None:
    async with leader(cluster):
        await until(lambda: condition(cluster) == "True Provisioned")
    cluster.kubectl("-n", "acme", "delete", "install", "shop", "--wait=false")
    assert not gone(cluster)
    async with leader(cluster):
        await until(lambda: gone(cluster))
    assert left(far) == []


async def test_an_install_that_moved_while_nobody_led_is_cleared_where_it_was(cluster: ControlPlane, far: ControlPlane) -> None:
    async with leader(cluster):
        await until(lambda: condition(cluster) == "True Provisioned")
    cluster.kubectl("-n", "acme", "patch", "install", "shop", "--type", "merge", "-p", '{"spec": {"cluster": null}}')
    async with leader(cluster):
        await until(lambda: left(far) == [])
        await until(lambda: bool(cluster.kubectl("-n", "shop-prod", "get", "pullgrants", "-o", "name").strip()))
        finalizers = ("-n", "acme", "get", "install", "shop", "-o", "jsonpath={.metadata.finalizers}{.status.clusters}")
        await until(lambda: cluster.kubectl(*finalizers) == "[]")
        await asyncio.to_thread(cluster.kubectl, "-n", "acme", "delete", "install", "shop", "--timeout=30s")
        await until(lambda: not cluster.kubectl("-n", "shop-prod", "get", "secrets,pullgrants", "-o", "name").strip())


async def test_a_workspace_that_is_deleted_with_its_secrets_is_not_held_up_and_cleared_there(
    cluster: ControlPlane, far: ControlPlane
) -> None:
    async with leader(cluster):
        await until(lambda: condition(cluster) == "True Provisioned")
        cluster.kubectl("delete", "namespace", "acme", "--wait=false")
        await until(lambda: not cluster.kubectl("get", "namespace", "acme", "--ignore-not-found").strip(), 60)
    assert left(far) == []


async def test_a_workspace_that_was_deleted_while_nobody_led_is_not_held_up(cluster: ControlPlane, far: ControlPlane) -> None:
    """Its kubeconfig is gone by the time somebody leads again: what is there stays there, and is told."""
    async with leader(cluster):
        await until(lambda: condition(cluster) == "True Provisioned")
    cluster.kubectl("delete", "namespace", "acme", "--wait=false")
    await until(lambda: "far" not in cluster.kubectl("-n", "acme", "get", "secrets", "-o", "name", check=False), 30)
    assert not gone(cluster)
    async with leader(cluster):
        await until(lambda: not cluster.kubectl("get", "namespace", "acme", "--ignore-not-found").strip(), 60)
    assert len(left(far)) == 2


async def test_a_kubeconfig_that_is_gone_lets_the_install_go_and_says_what_is_left(
    cluster: ControlPlane, far: ControlPlane
) -> None:
    async with leader(cluster):
        await until(lambda: condition(cluster) == "True Provisioned")
    cluster.kubectl("-n", "acme", "delete", "secret", "far")
    cluster.kubectl("-n", "acme", "delete", "install", "shop", "--wait=false")
    async with leader(cluster):
        await until(lambda: gone(cluster))
        await until(lambda: len(told(cluster)) == 1)
    assert "PullGrant shop and Secret akua-pull-shop in shop-prod" in told(cluster)[0]


async def test_a_cluster_that_is_out_of_reach_holds_an_install_only_so_long(
    cluster: ControlPlane, far: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leader(cluster):
        await until(lambda: condition(cluster) == "True Provisioned")
        send_far(cluster, far, server="https://127.0.0.1:1")
        await until(lambda: condition(cluster) == "False ClusterUnreachable")
        cluster.kubectl("-n", "acme", "delete", "install", "shop", "--wait=false")
        events = ("-n", "acme", "get", "events.events.k8s.io", "-o", "name", "--field-selector", "reason=RemovalWaits")
        await until(lambda: bool(cluster.kubectl(*events).strip()))
        assert not gone(cluster)
        monkeypatch.setattr(removal, "GIVE_UP_SECONDS", 0.0)
        await until(lambda: gone(cluster))
        await until(lambda: len(told(cluster)) == 1)
    assert "cannot be reached" in told(cluster)[0]


async def test_without_us_a_person_can_let_it_go(cluster: ControlPlane, far: ControlPlane) -> None:
    async with leader(cluster):
        await until(lambda: condition(cluster) == "True Provisioned")
    cluster.kubectl("-n", "acme", "delete", "install", "shop", "--wait=false")
    let_go(cluster)
    assert gone(cluster)

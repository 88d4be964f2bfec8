"""The install sync on a real API server: server-side apply, its own Lease, a remote cluster by a kubeconfig Secret."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator

import pytest

from programs.telemetry import Telemetry
from registry_access.model.install_token import verify_install_token
from registry_access.settings import Settings, load_settings
from registry_access.state.kubernetes import KubernetesStore
from registry_access.state.kubernetes import leader_election as leases
from registry_access.state.signing_keys import PublishedKeys
from tests.support.kubernetes import ControlPlane, control_plane
from tests.support.state_conformance import until
from webhook.assembly import InstallSyncParts, build_install_sync

__all__ = ["control_plane"]
HOST = "oci.akua.dev"
INSTALL = """
apiVersion: registry.akua.dev/v1alpha1
kind: Install
metadata: {name: shop, namespace: acme}
spec:
  repositories: [ghcr.io/acme/app]
  targets: [{namespace: shop-prod, podSelector: {matchLabels: {app: web}}}]
"""


def namespaces(plane: ControlPlane, *names: str) -> None:
    for name in names:
        # acme is the workspace, and whose installs the others take.
        said = {"labels": {"registry.akua.dev/workspace": "true"}}
        if name != "acme":
            said = {"annotations": {"registry.akua.dev/workspaces": "acme"}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **said}}
        plane.kubectl("apply", "-f", "-", input=json.dumps(body))


@contextlib.asynccontextmanager
async def webhook_replica(plane: ControlPlane) -> AsyncIterator[tuple[KubernetesStore, InstallSyncParts]]:
    store = KubernetesStore(plane.access(), pull_secrets=True, heartbeat_seconds=0.5)
    await store.start()
    parts = await build_install_sync(_settings(), store, Telemetry())
    task = asyncio.create_task(parts.run())
    try:
        yield store, parts
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await parts.close()
        await store.stop()


def _settings() -> Settings:
    return load_settings({"AKUA_HOST": HOST, "AKUA_STATE": "kubernetes"})


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    namespaces(control_plane, "acme", "akua-system", "shop-prod")
    yield control_plane
    control_plane.kubectl("-n", "acme", "delete", "installs", "--all")
    for kind in ("secrets", "pullgrants"):
        control_plane.kubectl("-n", "shop-prod", "delete", kind, "--all")


def condition(plane: ControlPlane, kind: str = "Synced") -> str:
    found = plane.kubectl("-n", "acme", "get", "install", "shop", "-o", "json")
    conditions = json.loads(found).get("status", {}).get("conditions", [])
    return next((f"{item['status']} {item['reason']}" for item in conditions if item["type"] == kind), "")


async def test_kubectl_apply_is_all_it_takes(cluster: ControlPlane) -> None:
    async with webhook_replica(cluster) as (store, _):
        cluster.kubectl("apply", "-f", "-", input=INSTALL)
        await until(lambda: condition(cluster) == "True Provisioned")
        secret = json.loads(cluster.kubectl("-n", "shop-prod", "get", "secret", "akua-pull-shop", "-o", "json"))
        assert secret["type"] == "kubernetes.io/dockerconfigjson"
        config = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
        keys = PublishedKeys(store.index).keys()
        claims = verify_install_token(config["auths"][HOST]["password"], keys, audience=HOST, now=time.time())
        assert (claims.identity.workspace, claims.identity.install) == ("acme", "shop")
        # Somebody widens the grant and loosens its selector; neither stays.
        patch = '{"spec": {"images": ["ghcr.io/acme/app", "ghcr.io/*"], "podSelector": {"matchLabels": {"more": "x"}}}}'
        cluster.kubectl("-n", "shop-prod", "patch", "pullgrant", "shop", "--type", "merge", "-p", patch)
        await until(lambda: grant(cluster)["images"] == ["ghcr.io/acme/app"])
        assert grant(cluster)["podSelector"] == {"matchLabels": {"app": "web"}}
        cluster.kubectl("-n", "shop-prod", "delete", "secret", "akua-pull-shop")
        await until(lambda: "akua-pull-shop" in cluster.kubectl("-n", "shop-prod", "get", "secrets", "-o", "name"))
        cluster.kubectl("-n", "acme", "delete", "install", "shop")
        await until(lambda: not cluster.kubectl("-n", "shop-prod", "get", "secrets,pullgrants", "-o", "name").strip())


async def test_a_secret_of_theirs_that_no_watch_shows_is_never_overwritten(cluster: ControlPlane) -> None:
    cluster.kubectl("-n", "shop-prod", "create", "secret", "generic", "akua-pull-shop", "--from-literal=mine=yes")
    async with webhook_replica(cluster):
        cluster.kubectl("apply", "-f", "-", input=INSTALL)
        await until(lambda: condition(cluster) == "False TargetFailed")
        data = json.loads(cluster.kubectl("-n", "shop-prod", "get", "secret", "akua-pull-shop", "-o", "json"))["data"]
        assert data == {"mine": base64.b64encode(b"yes").decode()}


def holder(cluster: ControlPlane) -> str:
    """Who leads, by the Lease; "" when nobody does."""
    command = ("-n", "akua-system", "get", "lease", "akua-install-sync", "--ignore-not-found")
    return cluster.kubectl(*command, "-o", "jsonpath={.spec.holderIdentity}")


async def test_two_replicas_and_one_leader(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases.LeaseTimes, "__init__", _quick)
    async with webhook_replica(cluster) as (_, first):
        leader = first.leadership
        assert isinstance(leader, leases.LeaderElection)
        await until(lambda: holder(cluster) == leader.identity)
        async with webhook_replica(cluster) as (_, second):
            assert isinstance(second.leadership, leases.LeaderElection)
            cluster.kubectl("apply", "-f", "-", input=INSTALL)
            await until(lambda: condition(cluster) == "True Provisioned")
            assert holder(cluster) == leader.identity
    assert holder(cluster) == "", "released, so that the next one need not wait"


async def test_what_was_deleted_while_nobody_led_is_cleared_by_the_next_leader(cluster: ControlPlane) -> None:
    """By its labels: nothing remembers it."""
    async with webhook_replica(cluster):
        cluster.kubectl("apply", "-f", "-", input=INSTALL)
        await until(lambda: condition(cluster) == "True Provisioned")
    cluster.kubectl("-n", "acme", "delete", "install", "shop", "--timeout=10s")
    assert len(cluster.kubectl("-n", "shop-prod", "get", "secrets,pullgrants", "-o", "name").split()) == 2
    async with webhook_replica(cluster):
        await until(lambda: not cluster.kubectl("-n", "shop-prod", "get", "secrets,pullgrants", "-o", "name").strip())


def grant(plane: ControlPlane) -> dict[str, object]:
    found: dict[str, object] = json.loads(plane.kubectl("-n", "shop-prod", "get", "pullgrant", "shop", "-o", "json"))["spec"]
    return found


def _quick(times: leases.LeaseTimes) -> None:
    for name, value in (("duration", 3.0), ("renew_deadline", 2.0), ("retry", 0.2)):
        object.__setattr__(times, name, value)

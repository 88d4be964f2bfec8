"""An install counts only in a workspace: elsewhere it gets no token, no grant, no connection, and says why."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from registry_access.model.errors import InvalidInput
from registry_access.model.resources import Install, Key, Kind, Metadata, Namespace
from tests.support.install_sync import Synced, shop, space
from tests.support.state_conformance import until
from webhook.install_sync.clusters.target_cluster import TargetCluster
from webhook.install_sync.objects.provisioner import Provisioner

LABEL = "registry.akua.dev/workspace"
ACME = Key(Kind.NAMESPACE, "", "acme")


def labelled(value: str | None) -> dict[str, Any]:
    return {"metadata": {"labels": {LABEL: value}}}


async def test_without_the_label_nothing_is_written_and_the_install_says_so(synced: Synced) -> None:
    await synced.store.create(space("acme"))
    await synced.store.create(shop())
    await until(lambda: synced.condition("Ready") == ("False", "NotAWorkspace"))
    assert synced.condition("Synced") == ("False", "NotAWorkspace")
    ready = next(each for each in synced.install().status.conditions if each.type == "Ready")
    assert "kubectl label namespace acme registry.akua.dev/workspace=true" in ready.message
    assert (synced.grant(), synced.secret(), synced.install().status.token_id) == (None, None, "")
    with pytest.raises(InvalidInput, match="is not a workspace"):
        synced.reconciler.token(synced.install())
    with pytest.raises(InvalidInput, match="is not a workspace"):
        synced.reconciler.bundle(synced.install())


async def test_the_label_makes_it_work_and_its_end_takes_everything_back(synced: Synced) -> None:
    await synced.store.create(space("acme"))
    await synced.store.create(shop())
    await until(lambda: synced.condition("Ready") == ("False", "NotAWorkspace"))
    await synced.store.patch(ACME, labelled("true"))
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    assert synced.grant() is not None
    assert synced.condition("Ready") == ("True", "Entitled")
    await synced.store.patch(ACME, labelled(None))
    await until(lambda: synced.grant() is None and synced.secret() is None)
    await until(lambda: synced.condition("Ready") == ("False", "NotAWorkspace"))
    assert synced.install().status.targets == ()


async def test_a_kubeconfig_of_no_workspace_is_not_connected_to(synced: Synced) -> None:
    await synced.store.create(space("acme"))
    await synced.store.create(shop(cluster={"kubeconfigSecret": "far"}))
    await until(lambda: synced.condition("Synced") == ("False", "NotAWorkspace"))
    assert synced.install().status.clusters == ()


async def test_in_a_folder_a_namespace_that_nobody_wrote_down_is_a_workspace(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))


async def test_large_selectors_leave_others_their_turn(synced: Synced) -> None:
    """A megabyte of expressions, tried on every namespace of the cluster, took the loop for seconds."""
    spaces = [Namespace(Metadata(f"n{number}", labels={"a": "x"})) for number in range(1000)]
    for each in spaces:
        synced.store.index.put(each)
    provisioner = Provisioner("oci.akua.dev", "control-plane")
    cluster = TargetCluster(synced.store)
    selector = {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["y"]}]}
    install = Install.from_manifest(shop(targets=[{"namespaceSelector": selector}] * 3))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    placements = await provisioner.placements(cluster, install)
    waiting.cancel()
    assert len(placements) == 1000
    assert turns >= 10

"""An install counts only in a workspace: elsewhere it gets no token, no grant, no connection, and says why."""

from __future__ import annotations

from typing import Any

import pytest

from registry_access.model.errors import InvalidInput
from registry_access.model.resources import Key, Kind
from tests.support.install_sync import Synced, shop, space
from tests.support.state_conformance import until

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

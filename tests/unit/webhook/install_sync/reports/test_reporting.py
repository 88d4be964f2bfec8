"""What people are told of a sync: failures, going well again, rotations; nothing while all is well."""

from __future__ import annotations

from registry_access.model.resources import Key, Kind
from tests.support.install_sync import SHOP, Synced, shop
from tests.support.state_conformance import until


async def test_nothing_is_told_while_all_is_well(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    await synced.sync.sync()
    assert synced.told.occurrences == []


async def test_a_target_that_fails_is_told_and_that_it_is_in_order_again(synced: Synced) -> None:
    taken = Key(Kind.SECRET, "prod", "akua-pull-shop")
    await synced.store.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": taken.name, "namespace": "prod"}})
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("False", "TargetFailed"))
    failed = synced.told.occurrences[0]
    assert (failed.reason, failed.warning, failed.regarding) == ("SyncFailed", True, SHOP)
    assert "prod: Secret akua-pull-shop is there already" in failed.note
    await synced.sync.sync()
    assert {item.series for item in synced.told.occurrences} == {failed.series}, "one Event that counts"
    await synced.store.delete(taken)
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    assert synced.told.notes("Synced") == ["synced again: 1 namespace"]


async def test_a_token_that_is_replaced_is_told_and_the_first_one_is_not(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    before = synced.claims().token_id
    await synced.store.patch(SHOP, {"spec": {"tokenGeneration": 2}})
    await until(lambda: synced.claims().identity.generation == 2)
    await until(lambda: len(synced.told.notes("TokenRotated")) == 1)
    (note,) = synced.told.notes("TokenRotated")
    assert f"replaces {before}" in note
    assert synced.claims().token_id in note

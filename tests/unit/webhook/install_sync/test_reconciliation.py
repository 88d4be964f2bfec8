"""The install sync on a real directory store: what it provisions, repairs, renews and removes."""

from __future__ import annotations

from typing import Any

import pytest

from registry_access.model.install_identity import InstallIdentity
from registry_access.model.resources import Key, Kind, Secret
from registry_access.model.resources.metadata import INSTALL_UID_ANNOTATION
from tests.support.install_sync import (
    HOST,
    SHOP,
    Synced,
    manifest,
    shop,
    space,
)
from tests.support.state_conformance import until
from webhook.install_sync.objects.ownership import CONTROL_PLANE_ANNOTATION


async def test_an_install_gets_its_secret_and_its_grant(synced: Synced) -> None:
    created = await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    grant, claims = synced.grant(), synced.claims()
    assert grant is not None
    assert (grant.host, grant.pull_secret, [str(image) for image in grant.images]) == (
        HOST,
        "akua-pull-shop",
        ["ghcr.io/acme/app"],
    )
    assert claims.identity == InstallIdentity("acme", "shop", created.metadata.uid, 1)
    assert synced.install().status.token_id == claims.token_id
    assert synced.condition("Ready") == ("True", "Entitled")
    assert [(target.namespace, target.synced) for target in synced.install().status.targets] == [("prod", True)]


async def test_the_secret_is_there_before_the_grant(synced: Synced) -> None:
    seen: list[Kind] = []
    synced.store.index.subscribe(lambda change: seen.append(change.key.kind), {Kind.PULL_GRANT, Kind.SECRET})
    await synced.store.create(shop())
    await until(lambda: synced.grant() is not None)
    assert seen[:2] == [Kind.SECRET, Kind.PULL_GRANT]


async def test_a_product_gives_its_repositories_and_its_changes(synced: Synced) -> None:
    await synced.store.create(shop(product="storefront", repositories=None))
    await until(lambda: synced.condition("Ready") == ("False", "ProductMissing"))
    await synced.store.create(manifest("Product", "storefront", {"repositories": ["ghcr.io/acme/a"]}))
    await until(lambda: (grant := synced.grant()) is not None and len(grant.images) == 1)
    await until(lambda: synced.condition("Ready") == ("True", "Entitled"))
    await synced.store.patch(
        Key(Kind.PRODUCT, "acme", "storefront"), {"spec": {"repositories": ["ghcr.io/acme/a", "ghcr.io/acme/b"]}}
    )
    await until(lambda: (grant := synced.grant()) is not None and len(grant.images) == 2)


async def test_a_new_generation_mints_a_new_token(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    before = synced.claims()
    await synced.store.patch(SHOP, {"spec": {"tokenGeneration": 2}})
    await until(lambda: synced.claims().identity.generation == 2)
    assert synced.claims().token_id != before.token_id


async def test_a_token_is_kept_until_two_thirds_of_its_life_are_over(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    before = synced.claims()
    synced.offset = 1990
    await synced.sync.sync()
    assert synced.claims().token_id == before.token_id
    synced.offset = 2010
    await synced.sync.sync()
    assert synced.claims().token_id != before.token_id
    # The old one is still good: what was handed out keeps working while the new one spreads.
    assert before.expires_at > synced.now()


async def test_what_people_change_by_hand_is_repaired(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    token = synced.claims().token_id
    await synced.store.patch(Key(Kind.PULL_GRANT, "prod", "shop"), {"spec": {"images": ["ghcr.io/*"]}})
    await until(lambda: (grant := synced.grant()) is not None and [str(i) for i in grant.images] == ["ghcr.io/acme/app"])
    await synced.store.delete(Key(Kind.SECRET, "prod", "akua-pull-shop"))
    await until(lambda: synced.secret() is not None)
    assert synced.claims().token_id == token
    await synced.store.delete(Key(Kind.PULL_GRANT, "prod", "shop"))
    await until(lambda: synced.grant() is not None)


async def test_nothing_is_left_of_an_install_that_is_gone_or_moved(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.grant() is not None)
    await synced.store.patch(SHOP, {"spec": {"targets": [{"namespace": "staging"}]}})
    await until(lambda: synced.grant("staging") is not None and synced.grant() is None and synced.secret() is None)
    await synced.store.delete(SHOP)
    await until(lambda: synced.grant("staging") is None and synced.secret("staging") is None)


async def test_what_was_left_while_nobody_looked_is_removed_on_start(synced: Synced) -> None:
    labels = {
        "app.kubernetes.io/managed-by": "akua-install-sync",
        "registry.akua.dev/install": "ghost",
        "registry.akua.dev/install-workspace": "acme",
    }
    left = manifest("PullGrant", "ghost", {"host": HOST, "images": ["ghcr.io/a"], "pullSecret": "akua-pull-ghost"}, "prod")
    theirs = manifest("PullGrant", "ghost", left["spec"], "staging")
    for item, control_plane in ((left, synced.store.control_plane_id()), (theirs, "control-plane-2")):
        item["metadata"] |= {"labels": labels, "annotations": {CONTROL_PLANE_ANNOTATION: control_plane}}
        await synced.store.create(item)
    await synced.sync.sync()
    await until(lambda: synced.grant(install="ghost") is None)
    assert synced.grant("staging", "ghost") is not None, "another control plane wrote it: a bundle, or from afar"


async def test_namespaces_are_chosen_by_label_and_picked_up_by_themselves(synced: Synced) -> None:
    selector = {"matchLabels": {"shop": "yes"}}
    await synced.store.create(shop(targets=[{"namespaceSelector": selector, "podSelector": {"matchLabels": {"app": "web"}}}]))
    await until(lambda: synced.condition("Synced") == ("True", "NoTargets"))
    await synced.store.create(space("eu", shop="yes"))
    await synced.store.create(space("us", shop="no"))
    await until(lambda: synced.grant("eu") is not None)
    grant = synced.grant("eu")
    assert grant is not None
    assert grant.pod_selector.matches({"app": "web"})
    assert synced.grant("us") is None
    await synced.store.patch(Key(Kind.NAMESPACE, "", "eu"), {"metadata": {"labels": {"shop": None}}})
    await until(lambda: synced.grant("eu") is None)


async def test_objects_of_others_are_never_touched(synced: Synced) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "akua-pull-shop", "namespace": "prod"},
        "stringData": {"a": "b"},
    }
    await synced.store.create(theirs)
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("False", "TargetFailed"))
    secret = synced.secret()
    assert secret is not None
    assert secret.data == {"a": b"b"}
    assert synced.grant() is None
    assert "not this install's" in synced.install().status.targets[0].message


async def test_overlapping_installs_are_told(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.grant() is not None)
    other = manifest("Install", "blog", {"repositories": ["ghcr.io/acme/blog"], "targets": [{"namespace": "prod"}]})
    await synced.store.create(other)
    await until(lambda: synced.condition("Synced", "blog") == ("True", "Overlap"))
    message = next(c.message for c in synced.install("blog").status.conditions if c.type == "Synced")
    assert "install shop may select the same pods" in message


@pytest.mark.parametrize(("spec", "reason"), [({"revoked": True}, "Revoked"), ({"expiresAt": "2020-01-01T00:00:00Z"}, "Expired")])
async def test_a_revoked_install_says_so_and_keeps_its_grant(synced: Synced, spec: dict[str, Any], reason: str) -> None:
    await synced.store.create(shop(**spec))
    await until(lambda: synced.condition("Ready") == ("False", reason))
    assert synced.grant() is not None


async def test_a_second_look_writes_nothing(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    versions = [item.metadata.resource_version for item in (synced.grant(), synced.secret(), synced.install()) if item]
    await synced.sync.sync()
    assert [item.metadata.resource_version for item in (synced.grant(), synced.secret(), synced.install()) if item] == versions


async def test_a_bundle_holds_the_very_objects(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    secret, grant = synced.reconciler.bundle(synced.install())
    present = synced.secret()
    assert present is not None
    assert (secret["kind"], grant["kind"]) == ("Secret", "PullGrant")
    assert Secret.from_manifest(secret).data == present.data


async def test_both_overlapping_installs_say_so_and_both_take_it_back(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.grant() is not None)
    await synced.store.create(manifest("Install", "blog", {"repositories": ["ghcr.io/b"], "targets": [{"namespace": "prod"}]}))
    for name in ("shop", "blog"):
        await until(lambda name=name: synced.condition("Synced", name) == ("True", "Overlap"))  # type: ignore[misc]
    for name, app in (("shop", "web"), ("blog", "blog")):
        target = {"namespace": "prod", "podSelector": {"matchLabels": {"app": app}}}
        await synced.store.patch(Key(Kind.INSTALL, "acme", name), {"spec": {"targets": [target]}})
    for name in ("shop", "blog"):
        await until(lambda name=name: synced.condition("Synced", name) == ("True", "Provisioned"))  # type: ignore[misc]


async def test_a_secret_that_somebody_sealed_is_made_anew(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    await synced.store.patch(Key(Kind.SECRET, "prod", "akua-pull-shop"), {"immutable": True})
    await synced.store.patch(SHOP, {"spec": {"tokenGeneration": 2}})
    await until(lambda: synced.secret() is not None and synced.claims().identity.generation == 2)
    secret = synced.secret()
    assert secret is not None
    assert not secret.immutable


async def test_a_secret_that_lost_its_labels_is_still_ours(synced: Synced) -> None:
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    labels = {"registry.akua.dev/install": None, "app.kubernetes.io/managed-by": "me"}
    await synced.store.patch(Key(Kind.SECRET, "prod", "akua-pull-shop"), {"metadata": {"labels": labels}})
    await until(lambda: (secret := synced.secret()) is not None and "registry.akua.dev/install" in secret.metadata.labels)


async def test_labels_alone_make_nothing_ours(synced: Synced) -> None:
    """Somebody in a target namespace labels a Secret of their own as if it were a leftover."""
    theirs: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "database",
            "namespace": "prod",
            "labels": {
                "app.kubernetes.io/managed-by": "akua-install-sync",
                "registry.akua.dev/install": "ghost",
                "registry.akua.dev/install-workspace": "acme",
            },
            "annotations": {CONTROL_PLANE_ANNOTATION: synced.store.control_plane_id()},
        },
    }
    await synced.store.create(theirs)
    await synced.sync.sync()
    assert synced.store.index.secret("prod", "database") is not None


async def test_what_was_in_the_way_is_gone_and_the_install_goes_on(synced: Synced) -> None:
    key = Key(Kind.SECRET, "prod", "akua-pull-shop")
    await synced.store.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": key.name, "namespace": key.namespace}})
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("False", "TargetFailed"))
    await synced.store.delete(key)
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))


async def test_an_install_made_anew_takes_over_what_its_namesake_left(synced: Synced) -> None:
    """Threat 12: the old token does not open the new install."""
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    before = synced.claims()
    await synced.store.delete(SHOP)
    created = await synced.store.create(shop())
    await until(lambda: synced.secret() is not None and synced.claims().identity.uid == created.metadata.uid)
    assert synced.claims().token_id != before.token_id
    await until(
        lambda: (
            (found := synced.grant()) is not None and found.metadata.annotations[INSTALL_UID_ANNOTATION] != before.identity.uid
        )
    )


async def test_a_product_that_goes_leaves_the_grant_so_that_refusals_can_be_read(synced: Synced) -> None:
    await synced.store.create(manifest("Product", "storefront", {"repositories": ["ghcr.io/acme/a"]}))
    await synced.store.create(shop(product="storefront", repositories=None))
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    await synced.store.delete(Key(Kind.PRODUCT, "acme", "storefront"))
    await until(lambda: synced.condition("Ready") == ("False", "ProductMissing"))
    assert synced.grant() is not None
    assert "entitled to nothing" in synced.install().status.targets[0].message

"""Which installs a change concerns, without asking each of them."""

from __future__ import annotations

from typing import Any

import pytest

from registry_access.model.resources import Install, Namespace
from registry_access.state.index import ResourceIndex
from tests.support import builders
from tests.support.install_sync import space
from webhook.install_sync.queue.references import InstallReferences

GOLD = {"namespaceSelector": {"matchLabels": {"tier": "gold"}}}


def install(name: str, *targets: dict[str, Any], workspace: str = "acme", **spec: Any) -> Install:
    return builders.install(name, namespace=workspace, targets=list(targets), **spec)


def namespace(name: str, **labels: str) -> Namespace:
    return builders.namespace(name, labels=labels)


@pytest.fixture
def index() -> ResourceIndex:
    index = ResourceIndex()
    index.put(install("shop", {"namespace": "prod"}, product="storefront"))
    index.put(install("shop", workspace="other", product="storefront"))
    return index


@pytest.fixture
def references(index: ResourceIndex) -> InstallReferences:
    found = InstallReferences(index)
    index.put(install("gold", GOLD))
    index.put(install("far", {"namespace": "prod"}, GOLD, cluster={"kubeconfigSecret": "far"}))
    return found


def test_by_what_an_install_names(references: InstallReferences) -> None:
    assert set(references.named("shop")) == {("acme", "shop"), ("other", "shop")}
    assert references.of_product("acme", "storefront") == (("acme", "shop"),)
    assert references.of_kubeconfig("acme", "far") == (("acme", "far"),)
    assert references.of_kubeconfig("other", "far") == ()
    assert set(references.of_workspace("acme")) == {("acme", "shop"), ("acme", "gold"), ("acme", "far")}


def test_what_an_install_no_longer_names_finds_it_no_more(index: ResourceIndex, references: InstallReferences) -> None:
    index.put(install("shop", GOLD, product="other"))
    assert references.of_product("acme", "storefront") == ()
    assert references.of_product("acme", "other") == (("acme", "shop"),)
    for found in index.installs():
        index.remove(found.key)
    assert references.named("shop") == references.of_workspace("acme") == ()
    assert references.targeting(None, namespace("prod", tier="gold")) == set()
    assert references.of_kubeconfig("acme", "far") == ()


SHOP, SELECTED = ("acme", "shop"), ("acme", "gold")


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (None, namespace("prod"), {SHOP}),
        (None, namespace("prod", tier="gold"), {SHOP, SELECTED}),
        (namespace("prod", tier="gold"), None, {SHOP, SELECTED}),
        (namespace("eu"), namespace("eu", tier="gold"), {SELECTED}),
        (namespace("eu", tier="gold"), namespace("eu"), {SELECTED}),
        (namespace("eu", tier="gold"), namespace("eu", tier="gold", more="labels"), set()),
        (namespace("prod"), namespace("prod", more="labels"), set()),
        (None, None, set()),
    ],
)
def test_namespaces_find_those_to_whom_they_make_a_difference(
    references: InstallReferences, before: Namespace | None, after: Namespace | None, found: set[tuple[str, str]]
) -> None:
    assert references.targeting(before, after) == found


def test_a_namespace_that_begins_to_be_deleted_makes_one(references: InstallReferences) -> None:
    deleting = space("prod", tier="gold")
    deleting["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert references.targeting(namespace("prod", tier="gold"), Namespace.from_manifest(deleting)) == {SHOP, SELECTED}


@pytest.mark.parametrize(("before", "after"), [(None, ""), ("", "acme"), ("acme", None)])
def test_whose_installs_a_namespace_takes_concerns_all_that_target_it(before: str | None, after: str | None) -> None:
    index = ResourceIndex()
    index.put(install("named", {"namespace": "eu"}))
    index.put(install("chosen", GOLD))
    index.put(install("elsewhere", {"namespace": "us"}))
    references = InstallReferences(index)
    states = [builders.made(space("eu", tier="gold") | {"metadata": metadata(said)}, Namespace) for said in (before, after)]
    found = references.targeting(*states)
    assert found == {("acme", "named"), ("acme", "chosen")}


def metadata(said: str | None) -> dict[str, Any]:
    annotations = {} if said is None else {"registry.akua.dev/workspaces": said}
    return {"name": "eu", "labels": {"tier": "gold"}, "annotations": annotations}

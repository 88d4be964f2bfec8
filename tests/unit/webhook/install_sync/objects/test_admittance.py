"""Whose installs a namespace takes: its annotation, which no member of a workspace can write, decides what goes there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from registry_access.model.resources import Key, Kind, Metadata, Namespace
from registry_access.model.resources.metadata import RESERVED_NAMESPACES
from tests.support.install_sync import Synced, shop, space
from tests.support.state_conformance import until
from webhook.install_sync.objects.admittance import Admittance

TAKES = "registry.akua.dev/workspaces"
PROD = Key(Kind.NAMESPACE, "", "prod")


def namespace(said: str | None, name: str = "prod") -> Namespace:
    return Namespace(Metadata(name, annotations={} if said is None else {TAKES: said}))


@pytest.mark.parametrize(
    ("said", "any_takes", "annotated_takes"),
    [
        (None, True, False),
        ("", False, False),
        ("acme", True, True),
        (" globex , acme ", True, True),
        ("globex", False, False),
        ("acme-2,ac", False, False),
        ("*", True, True),
    ],
)
def test_what_a_namespace_says(said: str | None, any_takes: bool, annotated_takes: bool) -> None:
    found = namespace(said)
    assert Admittance().takes(found, "acme") is any_takes
    assert Admittance(unannotated=False).takes(found, "acme") is annotated_takes
    assert bool(Admittance().refusal("prod", found, "acme")) is not any_takes


def test_a_workspace_s_own_namespace_is_its_own_unless_it_says_otherwise() -> None:
    assert Admittance(unannotated=False).takes(namespace(None, "acme"), "acme")
    assert not Admittance(unannotated=False).takes(namespace("globex", "acme"), "acme")


def test_one_that_is_not_known_is_not_let_into_where_all_must_say_so() -> None:
    assert Admittance().refusal("prod", None, "acme") == "", "writing will show"
    assert TAKES in Admittance(unannotated=False).refusal("prod", None, "acme")


def annotated(said: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": {TAKES: said}}}


async def test_a_named_one_that_does_not_take_it_is_told_and_left_empty(synced: Synced) -> None:
    await synced.store.create(space("prod") | {"metadata": {"name": "prod", "annotations": {TAKES: "globex"}}})
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("False", "TargetFailed"))
    message = synced.install().status.targets[0].message
    assert message.startswith("namespace prod takes no installs of workspace acme: its annotation registry.akua.dev/workspaces")
    assert synced.grant() is None
    assert synced.secret() is None
    await synced.store.patch(PROD, annotated("globex,acme"))
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    assert synced.grant() is not None


async def test_one_that_takes_it_no_more_is_cleared(synced: Synced) -> None:
    await synced.store.create(space("prod"))
    await synced.store.create(shop())
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    await synced.store.patch(PROD, annotated(""))
    await until(lambda: synced.grant() is None and synced.secret() is None)
    await until(lambda: synced.condition("Synced") == ("False", "TargetFailed"))


async def test_a_selector_finds_only_those_that_take_it(synced: Synced) -> None:
    await synced.store.create(space("prod", shop="yes"))
    await synced.store.create(space("eu") | {"metadata": {"name": "eu", "labels": {"shop": "yes"}, "annotations": {TAKES: ""}}})
    await synced.store.create(shop(targets=[{"namespaceSelector": {"matchLabels": {"shop": "yes"}}}]))
    await until(lambda: synced.condition("Synced") == ("True", "Provisioned"))
    assert [target.namespace for target in synced.install().status.targets] == ["prod"]
    await synced.store.patch(Key(Kind.NAMESPACE, "", "eu"), annotated("*"))
    await until(lambda: synced.grant("eu") is not None)


@pytest.mark.parametrize("name", ["kube-system", "kube-public", "kube-node-lease", "akua-system", "akua-node-trust"])
def test_a_reserved_namespace_takes_none_whatever_it_says(name: str) -> None:
    for admittance in (Admittance(), Admittance(unannotated=False)):
        assert not admittance.takes(namespace("*", name), "acme")
        assert "is reserved" in admittance.refusal(name, namespace("acme", name), "acme")
        assert "is reserved" in admittance.refusal(name, None, "acme")


def test_reserved_are_those_whose_pods_the_webhook_never_sees() -> None:
    text = (Path(__file__).parents[5] / "manifests/base/webhook/admission.yaml").read_text()
    (configuration,) = [part for part in yaml.safe_load_all(text) if part["kind"] == "MutatingWebhookConfiguration"]
    for webhook in configuration["webhooks"]:
        (expression,) = webhook["namespaceSelector"]["matchExpressions"]
        assert (expression["operator"], set(expression["values"])) == ("NotIn", set(RESERVED_NAMESPACES))


async def test_an_install_that_names_a_reserved_one_says_so_and_a_selector_passes_it_by(synced: Synced) -> None:
    await synced.store.create(space("prod", everything="yes"))
    await synced.store.create(space("kube-system", everything="yes"))
    everywhere = {"namespaceSelector": {"matchLabels": {"everything": "yes"}}}
    await synced.store.create(shop(targets=[{"namespace": "kube-public"}, everywhere]))
    await until(lambda: synced.condition("Synced") == ("False", "TargetFailed"))
    told = {target.namespace: (target.synced, target.message) for target in synced.install().status.targets}
    assert told["prod"] == (True, "")
    assert not told["kube-public"][0]
    assert told["kube-public"][1].startswith("namespace kube-public is reserved, its pods are never rewritten; remove it")
    assert set(told) == {"prod", "kube-public"}
    assert synced.grant("kube-system") is None
    assert synced.secret("kube-public") is None


def test_what_the_default_would_withdraw_is_said_before_it_is() -> None:
    open_for_now = Admittance(temporary=True)
    said = open_for_now.reminder(namespace(None), "acme")
    assert "kubectl annotate namespace prod registry.akua.dev/workspaces=acme" in said
    assert open_for_now.reminder(namespace("acme"), "acme") == ""
    assert open_for_now.reminder(namespace(None, "acme"), "acme") == ""
    assert open_for_now.reminder(None, "acme") == ""
    assert Admittance().reminder(namespace(None), "acme") == "", "a folder's owner owns all of it"

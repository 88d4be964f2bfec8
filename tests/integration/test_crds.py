"""The CRDs on a real API server, by kubectl: what is refused, in which words, and what a person is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry_access.model.resources import Install, RegistryCredential, resource_from_manifest
from tests.integration.test_kubernetes_state import clean_cluster
from tests.support import builders
from tests.support.kubernetes import ControlPlane, control_plane
from tests.support.state_conformance import WORKSPACE, install_manifest
from tests.unit.registry_access.model.test_resources import SPECS, STATUS, manifest

__all__ = ["clean_cluster", "control_plane"]
CREDENTIAL = {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr"}


def apply(plane: ControlPlane, given: dict[str, Any]) -> str:
    """What kubectl prints, errors included."""
    return plane.kubectl("apply", "-f", "-", input=json.dumps(given), check=False)


def get(plane: ControlPlane, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plane.kubectl("get", kind, name, "-n", WORKSPACE, "-o", "json"))
    return found


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_a_manifest_with_every_field_comes_back_as_it_went(clean_cluster: ControlPlane, kind: str) -> None:
    given = manifest(kind)
    given["metadata"] = {"name": "full", "namespace": WORKSPACE}
    status = given.pop("status", None)
    assert "created" in apply(clean_cluster, given)
    if status:
        patch = json.dumps({"status": STATUS[kind]})
        clean_cluster.kubectl("patch", kind, "full", "-n", WORKSPACE, "--subresource=status", "--type=merge", "-p", patch)
    stored = get(clean_cluster, kind, "full")
    resource = resource_from_manifest(stored)
    assert resource is not None
    written = resource.to_manifest()
    assert written["spec"] == SPECS[kind]
    assert written.get("status") == STATUS.get(kind)


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("RegistryCredential", {"registry": "https://ghcr.io", "type": "Basic", "secretName": "s"}, "without https:// or a path"),
        ("RegistryCredential", {"registry": "ghcr.io", "type": "Basic"}, "name a Secret of this namespace"),
        (
            "RegistryCredential",
            {"registry": "ghcr.io", "type": "Anonymous", "secretName": "s"},
            "remove it, or state another type",
        ),
        ("RegistryCredential", {"registry": "ghcr.io", "type": "basic"}, '"Basic", "Token", "OAuth", "AWS", "Anonymous"'),
        ("RegistryCredential", {**CREDENTIAL, "repositories": ["a", "a"]}, "Duplicate value"),
        ("RegistryCredential", {**CREDENTIAL, "disable": True}, 'unknown field "spec.disable"'),
        ("RegistryCredential", {"type": "Basic"}, "spec.registry: Required value"),
        ("Product", {"repositories": []}, "at least 1 items"),
        ("Product", {"repositories": ["acme/app"]}, "spec.repositories[0]"),
        ("Product", {"repositories": ["acme/app"]}, "write each as registry/repository, such as ghcr.io/acme/app"),
        ("RegistryCredential", {**CREDENTIAL, "repositories": ["ghcr.io/A"]}, "acme/* for everything below acme"),
        ("Install", {"product": "p", "targets": [{"namespace": "A_b"}]}, "write the name of a namespace"),
        ("Install", {}, "name a product, or list repositories"),
        ("Install", {"product": "p", "targets": [{}]}, "write one of them, and only one"),
        ("Install", {"product": "p", "targets": [{"namespace": "a", "namespaceSelector": {}}]}, "and only one"),
        ("Install", {"product": "p", "tokenGeneration": 0}, "greater than or equal to 1"),
        ("Install", {"product": "p", "expiresAt": "soon"}, "date-time"),
        (
            "PullGrant",
            {
                "host": "oci.akua.dev",
                "images": ["ghcr.io/a"],
                "pullSecret": "s",
                "podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]},
            },
            "In and NotIn need at least one",
        ),
    ],
)
def test_what_is_refused_and_in_which_words(clean_cluster: ControlPlane, kind: str, spec: dict[str, Any], message: str) -> None:
    assert message in apply(clean_cluster, builders.manifest(kind, "wrong", spec))


def test_what_must_not_change(clean_cluster: ControlPlane) -> None:
    apply(clean_cluster, builders.manifest("RegistryCredential", "ghcr", CREDENTIAL))
    moved = builders.manifest("RegistryCredential", "ghcr", {**CREDENTIAL, "registry": "evil.example"})
    assert "stays with its registry; delete it and create another" in apply(clean_cluster, moved)
    apply(clean_cluster, install_manifest(tokenGeneration=3))
    assert "back to life" in apply(clean_cluster, install_manifest(tokenGeneration=2))
    assert "back to life" in apply(clean_cluster, install_manifest())  # the default is 1


def test_defaults_are_the_models(clean_cluster: ControlPlane) -> None:
    apply(clean_cluster, install_manifest())
    apply(clean_cluster, builders.manifest("RegistryCredential", "ghcr", CREDENTIAL))
    shop = get(clean_cluster, "install", "shop")
    assert (shop["spec"]["revoked"], shop["spec"]["tokenGeneration"]) == (False, 1)
    assert Install.from_manifest(shop, strict=False) == Install.from_manifest(shop | {"spec": install_manifest()["spec"]})
    credential = get(clean_cluster, "rcred", "ghcr")
    assert RegistryCredential.from_manifest(credential) == RegistryCredential.from_manifest(credential | {"spec": CREDENTIAL})


def test_what_a_person_is_shown(clean_cluster: ControlPlane) -> None:
    apply(clean_cluster, install_manifest(product="storefront"))
    apply(clean_cluster, builders.manifest("RegistryCredential", "ghcr", CREDENTIAL))
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "ProductMissing",
        "message": "product storefront does not exist; create it",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    patch = json.dumps({"status": {"conditions": [condition], "deniedPulls": 4}})
    clean_cluster.kubectl("patch", "install", "shop", "-n", WORKSPACE, "--subresource=status", "--type=merge", "-p", patch)
    shown = clean_cluster.kubectl("get", "installs", "-n", WORKSPACE)
    assert shown.splitlines()[0].split() == [
        "NAME",
        "PRODUCT",
        "REVOKED",
        "READY",
        "REASON",
        "SYNCED",
        "TARGETS",
        "LAST",
        "PULL",
        "DENIED",
        "AGE",
    ]
    assert "storefront" in shown
    assert "ProductMissing" in shown
    assert "create it" in clean_cluster.kubectl("get", "installs", "-n", WORKSPACE, "-o", "wide")
    everything = clean_cluster.kubectl("get", "akua", "-n", WORKSPACE)
    assert "install.registry.akua.dev/shop" in everything
    assert "registrycredential.registry.akua.dev/ghcr" in everything
    assert "ghcr.io" in clean_cluster.kubectl("get", "rcred", "-n", WORKSPACE)
    selected = clean_cluster.kubectl("get", "installs", "-n", WORKSPACE, "--field-selector", "spec.revoked=true", check=False)
    assert "No resources found" in selected
    clean_cluster.kubectl("patch", "install", "shop", "-n", WORKSPACE, "--type=merge", "-p", '{"spec":{"revoked":true}}')
    assert "shop" in clean_cluster.kubectl("get", "installs", "-n", WORKSPACE, "--field-selector", "spec.revoked=true")


@pytest.mark.parametrize(
    "field", ["install.spec.tokenGeneration", "rcred.spec.realmHosts", "pullgrant.spec.images", "product.spec"]
)
def test_kubectl_explain_teaches(clean_cluster: ControlPlane, field: str) -> None:
    explained = clean_cluster.kubectl("explain", field)
    assert "<empty>" not in explained
    assert len(explained.split("DESCRIPTION:")[1]) > 40

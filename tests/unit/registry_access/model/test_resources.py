"""Resources: manifests read, written back, and complained about with source, line, field and way out."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from registry_access.model.errors import InvalidManifest
from registry_access.model.label_selector import LabelSelector
from registry_access.model.names.repository_pattern import RepositoryPrefix
from registry_access.model.resources import (
    CredentialType,
    Install,
    InstallStatus,
    Key,
    Kind,
    Namespace,
    Product,
    PullGrant,
    RegistryCredential,
    Resource,
    Secret,
    check_transition,
    key_of_manifest,
    resource_from_manifest,
)

API = "registry.akua.dev/v1alpha1"
CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Synced",
    "message": "all well",
    "lastTransitionTime": "2026-01-02T03:04:05Z",
    "observedGeneration": 3,
}
METADATA = {
    "uid": "u-1",
    "resourceVersion": "7",
    "generation": 3,
    "creationTimestamp": "2026-01-02T03:04:05Z",
    "deletionTimestamp": "2026-02-02T03:04:05Z",
    "labels": {"team": "shop"},
    "annotations": {"note": "yes"},
    "finalizers": ["registry.akua.dev/sync"],
}
SPECS: dict[str, dict[str, Any]] = {
    "RegistryCredential": {
        "registry": "ghcr.io",
        "displayName": "GitHub packages",
        "repositories": ["acme/*", "acme"],
        "type": "Token",
        "login": "gitlab",
        "secretName": "ghcr",
        "disabled": True,
        "insecure": True,
        "realmHosts": ["auth.example.com"],
        "allowPrivateAddresses": True,
        "expiresAt": "2030-01-01T00:00:00Z",
    },
    "Product": {"repositories": ["ghcr.io/acme/storefront", "ghcr.io/acme/charts/*"]},
    "Install": {
        "product": "storefront",
        "repositories": ["docker.io/library/redis"],
        "targets": [
            {"namespace": "shop-prod", "podSelector": {"matchLabels": {"app": "shop"}}},
            {
                "namespaceSelector": {
                    "matchExpressions": [
                        {"key": "tier", "operator": "In", "values": ["gold"]},
                        {"key": "off", "operator": "DoesNotExist"},
                    ]
                }
            },
        ],
        "cluster": {"kubeconfigSecret": "remote"},
        "revoked": True,
        "expiresAt": "2030-01-01T00:00:00Z",
        "tokenGeneration": 4,
    },
    "PullGrant": {
        "host": "oci.akua.dev",
        "images": ["ghcr.io/acme/storefront"],
        "pullSecret": "akua-pull-shop",
        "podSelector": {"matchLabels": {"app": "shop"}},
    },
}
STATUS: dict[str, dict[str, Any]] = {
    "RegistryCredential": {"conditions": [CONDITION], "secretVersion": "3", "lastUsedTime": "2026-01-02T03:04:05Z"},
    "Install": {
        "conditions": [
            CONDITION,
            {**{key: value for key, value in CONDITION.items() if key != "observedGeneration"}, "type": "Synced"},
        ],
        "tokenID": "tok_1",
        "tokenExpiresAt": "2026-01-02T03:04:05Z",
        "targets": [{"namespace": "a", "synced": True}, {"namespace": "b", "synced": False, "message": "no such namespace"}],
        "lastPullTime": "2026-01-02T03:04:05Z",
        "deniedPulls": 2,
        "lastSyncTime": "2026-01-02T03:04:05Z",
        "observedSyncRequest": "now, please",
        "observedWorkspaceSyncRequest": "all",
        "clusters": ["remote"],
    },
}


def manifest(kind: str, **spec: Any) -> dict[str, Any]:
    """A manifest with all fields of `kind`; `spec` replaces some, None removes them."""
    merged = {**deepcopy(SPECS[kind]), **spec}
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": {"name": "shop", "namespace": "acme", **deepcopy(METADATA)},
        "spec": {name: value for name, value in merged.items() if value is not None},
        **({"status": deepcopy(STATUS[kind])} if kind in STATUS else {}),
    }


def read(given: dict[str, Any]) -> Resource:
    resource = resource_from_manifest(given, source="shop.yaml")
    assert resource is not None
    return resource


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_every_field_survives_the_way_there_and_back(kind: str) -> None:
    given = manifest(kind)
    resource = read(given)
    assert resource.to_manifest() == given
    assert resource.key == Key(Kind(kind), "acme", "shop")
    assert resource.deleting


def test_defaults() -> None:
    install = read(manifest("Install", targets=None, cluster=None, revoked=None, expiresAt=None, tokenGeneration=None))
    assert isinstance(install, Install)
    assert (install.revoked, install.expires_at, install.token_generation, install.targets) == (False, None, 1, ())
    assert install.workspace == "acme"
    bare = Product.from_manifest(
        {"apiVersion": API, "kind": "Product", "metadata": {"name": "p", "namespace": "a"}, "spec": SPECS["Product"]}
    )
    assert not bare.deleting
    assert bare.to_manifest()["metadata"] == {"name": "p", "namespace": "a"}
    grant = read(manifest("PullGrant", podSelector=None))
    assert isinstance(grant, PullGrant)
    assert grant.pod_selector.selects_everything
    assert "podSelector" not in dict(grant.to_manifest()["spec"])  # type: ignore[call-overload]


def test_a_credential_is_normalized() -> None:
    credential = read(manifest("RegistryCredential", registry="Index.Docker.IO", login=None))
    assert isinstance(credential, RegistryCredential)
    assert (credential.registry, credential.type, credential.login) == ("docker.io", CredentialType.TOKEN, None)
    assert credential.repositories == (RepositoryPrefix("acme", True), RepositoryPrefix("acme", False))


def test_times_are_in_utc() -> None:
    install = read(manifest("Install", expiresAt="2030-01-01T02:00:00+02:00"))
    assert isinstance(install, Install)
    assert install.expires_at == datetime(2030, 1, 1, tzinfo=UTC)


def test_a_namespace_may_be_a_workspace() -> None:
    given = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme"}, "spec": {"finalizers": ["kubernetes"]}}
    assert not Namespace.from_manifest(given).is_workspace
    given["metadata"] = {"name": "acme", "labels": {"registry.akua.dev/workspace": "true"}}
    assert Namespace.from_manifest(given).is_workspace
    assert Namespace.from_manifest(given).key == Key(Kind.NAMESPACE, "", "acme")
    assert str(Namespace.from_manifest(given).key) == "Namespace acme"
    assert Namespace.from_manifest(given).to_manifest()["metadata"] == given["metadata"]


def test_a_secret_hides_its_values() -> None:
    given = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "s",
            "namespace": "a",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "canary"},
        },
        "data": {"one": "Y2FuYXJ5"},
        "stringData": {"two": "canary"},
        "immutable": True,
    }
    secret = Secret.from_manifest(given)
    assert dict(secret.data) == {"one": b"canary", "two": b"canary"}
    assert "canary" not in f"{secret!r} {secret}"
    written = secret.to_manifest()
    assert (written["data"], written["immutable"]) == ({"one": "Y2FuYXJ5", "two": "Y2FuYXJ5"}, True)
    assert Secret.from_manifest(written) == secret
    assert "immutable" not in Secret.from_manifest({**given, "immutable": False}).to_manifest()
    with pytest.raises(InvalidManifest, match=r"data\.one: is not base64") as error:
        Secret.from_manifest({**given, "data": {"one": "canary!"}})
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "spec", "field", "remedy"),
    [
        ("RegistryCredential", {"registry": "https://ghcr.io"}, "spec.registry", "without a scheme"),
        ("RegistryCredential", {"registry": None}, "spec.registry", "write spec.registry"),
        ("RegistryCredential", {"registry": ""}, "spec.registry", "write a value"),
        ("RegistryCredential", {"type": "basic"}, "spec.type", "did you mean Basic?"),
        ("RegistryCredential", {"type": "Zzz"}, "spec.type", "write one of"),
        ("RegistryCredential", {"type": "Basic", "secretName": None}, "spec.secretName", "name a Secret"),
        ("RegistryCredential", {"type": "Anonymous"}, "spec.secretName", "remove it"),
        ("RegistryCredential", {"login": "Git Lab"}, "spec.login", "write anonymous, basic"),
        ("RegistryCredential", {"repositories": ["acme/*", "acme/*"]}, "spec.repositories[1]", "remove one"),
        ("RegistryCredential", {"repositories": ["ACME"]}, "spec.repositories[0]", "lower-case"),
        ("RegistryCredential", {"repositories": "acme"}, "spec.repositories", "behind a dash"),
        ("RegistryCredential", {"repositories": [None]}, "spec.repositories[0]", "remove it"),
        ("RegistryCredential", {"repositories": [3]}, "spec.repositories[0]", "quotes"),
        ("RegistryCredential", {"displayName": "x" * 101}, "spec.displayName", "shorten"),
        ("RegistryCredential", {"disabled": "true"}, "spec.disabled", "without quotes"),
        ("RegistryCredential", {"disable": True}, "spec.disable", "did you mean disabled?"),
        ("RegistryCredential", {"zzzzzz": True}, "spec.zzzzzz", "known here"),
        ("RegistryCredential", {"secretName": 7}, "spec.secretName", "quotes"),
        ("RegistryCredential", {"secretName": "Not a name"}, "spec.secretName", "lower-case"),
        ("Product", {"repositories": []}, "spec.repositories", "behind a dash"),
        ("Product", {"repositories": ["x.io/a"] * 257}, "spec.repositories", "split"),
        ("Product", {"repositories": ["acme/app"]}, "spec.repositories[0]", "registry/repository"),
        ("Install", {"product": None, "repositories": None}, "spec.product", "list repositories"),
        ("Install", {"targets": [{}]}, "spec.targets[0].namespace", "write one"),
        (
            "Install",
            {"targets": [{"namespace": "a", "namespaceSelector": {}}]},
            "spec.targets[0].namespaceSelector",
            "remove one",
        ),
        ("Install", {"targets": ["a"]}, "spec.targets[0]", "name: value"),
        ("Install", {"targets": [None]}, "spec.targets[0]", "name: value"),
        ("Install", {"targets": {"namespace": "a"}}, "spec.targets", "behind a dash"),
        ("Install", {"tokenGeneration": 0}, "spec.tokenGeneration", "from 1"),
        ("Install", {"tokenGeneration": True}, "spec.tokenGeneration", "digits"),
        ("Install", {"tokenGeneration": 1.5}, "spec.tokenGeneration", "digits"),
        ("Install", {"expiresAt": "soon"}, "spec.expiresAt", "2030-01-31"),
        ("Install", {"expiresAt": "2030-01-31T12:00:00"}, "spec.expiresAt", "2030-01-31"),
        ("Install", {"cluster": {"kubeconfig": "x"}}, "spec.cluster.kubeconfig", "kubeconfigSecret"),
        (
            "PullGrant",
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            "spec.podSelector.matchExpressions[0].values",
            "list",
        ),
        (
            "PullGrant",
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
            "spec.podSelector.matchExpressions[0].values",
            "remove them",
        ),
        ("PullGrant", {"podSelector": {"matchLabels": {"a": 1}}}, "spec.podSelector.matchLabels.a", "quotes"),
        ("PullGrant", {"podSelector": {"matchLabels": {1: "a"}}}, "spec.podSelector.matchLabels.1", "quotes"),
        (
            "PullGrant",
            {"podSelector": {"matchLabels": {f"k{n}": "a" for n in range(65)}}},
            "spec.podSelector.matchLabels",
            "remove",
        ),
        ("PullGrant", {"podSelector": {"matchLabels": {"a.b/c": []}}}, "spec.podSelector.matchLabels['a.b/c']", "quotes"),
    ],
)
def test_what_is_wrong_is_said_with_its_field_and_the_way_out(kind: str, spec: dict[str, Any], field: str, remedy: str) -> None:
    given = manifest(kind)
    given["spec"] = {name: value for name, value in {**given["spec"], **spec}.items() if value is not None}
    with pytest.raises(InvalidManifest) as error:
        resource_from_manifest(given, source="shop.yaml", lines=len)
    assert (error.value.field, error.value.source) == (field, "shop.yaml")
    assert remedy in error.value.remedy
    assert str(error.value).startswith("shop.yaml:")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metadata": {"name": "shop"}}, "metadata.namespace"),
        ({"metadata": {"namespace": "acme"}}, "metadata.name"),
        ({"metadata": {"name": "shop", "namespace": "acme", "lables": {}}}, "metadata.lables"),
        ({"metadata": None}, "metadata.name"),
        ({"metadata": []}, "metadata"),
        ({"kind": None}, "kind"),
        ({"apiVersion": "registry.akua.dev/v9"}, "apiVersion"),
        ({"kind": "Instal"}, "kind"),
        ({"kind": "Zebra"}, "kind"),
        ({"sepc": {}}, "sepc"),
    ],
)
def test_what_is_wrong_around_the_spec(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidManifest) as error:
        resource_from_manifest({**manifest("Install"), **change})
    assert error.value.field == field
    assert error.value.line == 0


def test_kinds_that_are_not_ours_are_nobodys_mistake() -> None:
    assert resource_from_manifest({"apiVersion": "apps/v1", "kind": "Deployment"}) is None
    assert resource_from_manifest({"apiVersion": "other.example/v1", "kind": "Install"}) is None
    with pytest.raises(InvalidManifest, match="not a manifest"):
        resource_from_manifest(["a list"])
    with pytest.raises(InvalidManifest, match="'Install' is not 'Product'"):
        Product.from_manifest(manifest("Install"))
    with pytest.raises(InvalidManifest, match="no namespace"):
        resource_from_manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "namespace": "b"}})


def test_fields_that_the_schema_of_a_later_release_may_have_are_passed_over_when_asked() -> None:
    given = manifest("Install")
    given["spec"]["later"] = 1
    assert resource_from_manifest(given, strict=False) == read(manifest("Install"))


def test_a_status_that_cannot_be_read_counts_as_not_written() -> None:
    given = manifest("Install")
    given["status"] = {"deniedPulls": "many"}
    install = read(given)
    assert isinstance(install, Install)
    assert install.status == InstallStatus()


def test_the_key_of_a_manifest() -> None:
    assert key_of_manifest(manifest("Install")) == Key(Kind.INSTALL, "acme", "shop")
    assert str(key_of_manifest(manifest("Install"))) == "Install acme/shop"
    for broken in ({"apiVersion": "v1", "kind": "Pod"}, {"apiVersion": "v1", "kind": "Secret", "metadata": {}}, {}):
        with pytest.raises(InvalidManifest):
            key_of_manifest(broken)


def test_what_thousands_of_objects_share_is_held_once() -> None:
    one, two = read(manifest("PullGrant")), read(manifest("PullGrant"))
    assert isinstance(one, PullGrant)
    assert isinstance(two, PullGrant)
    assert one.metadata.labels is two.metadata.labels
    assert one.images[0] is two.images[0]
    assert one.pod_selector is two.pod_selector
    assert isinstance(one.pod_selector, LabelSelector)


def test_rules_between_one_version_and_the_next() -> None:
    install, credential = read(manifest("Install")), read(manifest("RegistryCredential"))
    check_transition(None, install)
    check_transition(install, read(manifest("Install", tokenGeneration=5)))
    with pytest.raises(InvalidManifest, match="back to life"):
        check_transition(install, read(manifest("Install", tokenGeneration=3)))
    check_transition(credential, read(manifest("RegistryCredential", disabled=False)))
    with pytest.raises(InvalidManifest, match="stays with its registry"):
        check_transition(credential, read(manifest("RegistryCredential", registry="quay.io")))
    given: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "a"},
        "data": {"a": "YQ=="},
        "immutable": True,
    }
    secret = Secret.from_manifest(given)
    check_transition(secret, secret)
    check_transition(Secret.from_manifest({**given, "immutable": False}), secret)
    for changed in ({**given, "immutable": False}, {**given, "data": {}}):
        with pytest.raises(InvalidManifest, match="immutable"):
            check_transition(secret, Secret.from_manifest(changed))

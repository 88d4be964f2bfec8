"""What an install's line says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from control.doctor.resources import credential_checks, install_checks, label_checks
from registry_access.model.resources import Install, Metadata, Namespace, Product, RegistryCredential, Secret
from registry_access.state.index import ResourceIndex

NOW = datetime(2026, 11, 25, tzinfo=UTC)
API = "registry.akua.dev/v1alpha1"


def condition(kind: str, reason: str, message: str, status: str = "False") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


@pytest.mark.parametrize(
    ("spec", "status", "finding", "says"),
    [
        ({}, {}, "good", "storefront"),
        ({"product": "gone"}, {}, "bad", "product gone does not exist"),
        ({"revoked": True}, {"conditions": [condition("Ready", "Revoked", "")]}, "warning", "`akua install restore shop`"),
        ({"expiresAt": "2026-11-24T00:00:00Z"}, {}, "warning", "expired at 2026-11-24"),
        ({"expiresAt": "2026-12-01T00:00:00Z"}, {}, "warning", "expires in 6d"),
        ({"expiresAt": "2027-12-01T00:00:00Z"}, {}, "good", "storefront"),
        ({}, {"targets": [{"namespace": "shop-prod", "synced": False, "message": "quota"}]}, "bad", "namespace shop-prod: quota"),
        ({}, {"conditions": [condition("Synced", "ClusterUnreachable", "no route")]}, "bad", "ClusterUnreachable: no route"),
        ({}, {"conditions": [condition("Synced", "Provisioned", "", "True")]}, "good", "storefront"),
        ({}, {"tokenExpiresAt": "2026-11-24T00:00:00Z"}, "bad", "the token in its pull Secrets has expired"),
    ],
)
def test_an_install(spec: dict[str, Any], status: dict[str, Any], finding: str, says: str) -> None:
    index = ResourceIndex()
    metadata = {"name": "storefront", "namespace": "acme"}
    product = {"apiVersion": API, "kind": "Product", "metadata": metadata, "spec": {"repositories": ["ghcr.io/acme/*"]}}
    index.put(Product.from_manifest(product))
    manifest = {
        "apiVersion": API,
        "kind": "Install",
        "metadata": {"name": "shop", "namespace": "acme"},
        "spec": {"product": "storefront", **spec},
        "status": status,
    }
    index.put(Install.from_manifest(manifest))
    (check,) = install_checks(index, now=NOW)
    assert (str(check.finding), says in check.detail) == (finding, True), check.detail
    assert install_checks(index, "globex") == []


def put_install(index: ResourceIndex, *targets: str) -> None:
    status = {"targets": [{"namespace": name, "synced": True} for name in targets]}
    metadata = {"name": "shop", "namespace": "acme"}
    spec = {"repositories": ["ghcr.io/acme/app"]}
    index.put(Install.from_manifest({"apiVersion": API, "kind": "Install", "metadata": metadata, "spec": spec, "status": status}))


def test_a_forgotten_label_is_what_is_wrong_with_everything_there() -> None:
    index = ResourceIndex(sees_namespaces=True)
    put_install(index)
    metadata = {"name": "ghcr", "namespace": "acme"}
    spec = {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr"}
    credential = {"apiVersion": API, "kind": "RegistryCredential", "metadata": metadata, "spec": spec}
    index.put(RegistryCredential.from_manifest(credential))
    index.put(Namespace(Metadata("acme")))
    found = [*label_checks(index), *credential_checks(index), *install_checks(index, now=NOW)]
    assert [check.name for check in found] == ["workspace acme", "credential acme/ghcr", "install acme/shop"]
    assert all(str(check.finding) == "bad" for check in found)
    assert all("kubectl label namespace acme registry.akua.dev/workspace=true" in check.detail for check in found)
    assert label_checks(index, "globex") == []


def test_what_annotated_would_withdraw_is_a_warning_beforehand() -> None:
    index = ResourceIndex(sees_namespaces=True)
    index.put(Namespace(Metadata("acme", labels={"registry.akua.dev/workspace": "true"})))
    index.put(Namespace(Metadata("prod")))
    index.put(Namespace(Metadata("asked", annotations={"registry.akua.dev/workspaces": "acme"})))
    put_install(index, "acme", "asked", "prod")
    (check,) = install_checks(index, now=NOW)
    assert str(check.finding) == "warning"
    assert (
        "would withdraw it from prod; first run kubectl annotate namespace prod registry.akua.dev/workspaces=acme" in check.detail
    )
    put_install(index, "acme", "asked")
    (check,) = install_checks(index, now=NOW)
    assert str(check.finding) == "good"


SECRET = {"metadata": {"name": "ghcr", "namespace": "acme"}, "stringData": {"username": "x", "password": "y"}}


def credential(name: str = "ghcr", **spec: Any) -> RegistryCredential:
    given = {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr", **spec}
    metadata = {"name": name, "namespace": "acme"}
    return RegistryCredential.from_manifest(
        {"apiVersion": API, "kind": "RegistryCredential", "metadata": metadata, "spec": given}
    )


@pytest.mark.parametrize(
    ("credentials", "secret", "workspace", "found"),
    [
        ([credential()], True, True, {"install": "good", "ghcr": "good"}),
        ([], True, True, {"install": "bad"}),
        ([credential(), credential("two")], True, True, {"install": "bad", "ghcr": "bad", "two": "bad"}),
        ([credential(disabled=True)], True, True, {"install": "bad", "ghcr": "warning"}),
        ([credential()], False, True, {"install": "bad", "ghcr": "bad"}),
        ([credential()], True, False, {"install": "bad", "ghcr": "bad"}),
        ([credential(repositories=["other/*"])], True, True, {"install": "bad", "ghcr": "good"}),
    ],
)
def test_what_keeps_credentials_from_opening_an_install_is_seen_without_a_proxy(
    credentials: list[RegistryCredential], secret: bool, workspace: bool, found: dict[str, str]
) -> None:
    index = ResourceIndex()
    labels = {"registry.akua.dev/workspace": "true"} if workspace else {}
    index.put(Namespace.from_manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme", "labels": labels}}))
    if secret:
        index.put(Secret.from_manifest({"apiVersion": "v1", "kind": "Secret", **SECRET}))
    for each in credentials:
        index.put(each)
    spec = {"repositories": ["ghcr.io/acme/app"]}
    metadata = {"name": "shop", "namespace": "acme"}
    index.put(Install.from_manifest({"apiVersion": API, "kind": "Install", "metadata": metadata, "spec": spec}))
    checks = [*install_checks(index, now=NOW, credentials_seen=True), *credential_checks(index)]
    said = {check.name.replace("install acme/shop", "install").replace("credential acme/", ""): check for check in checks}
    assert {name: str(check.finding) for name, check in said.items()} == found
    assert all(";" in check.detail for check in checks if str(check.finding) == "bad"), "each says the way out"
    unseen = install_checks(index, now=NOW, credentials_seen=True, unseen_secrets={"acme"})
    if not secret:
        assert str(unseen[0].finding) == "good", "what may not be seen is not missing"

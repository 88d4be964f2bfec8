"""What an install's line says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from control.doctor.resources import install_checks
from registry_access.model.resources import Install, Product
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

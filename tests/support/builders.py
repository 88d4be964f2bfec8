"""Resources for tests: the smallest of each kind that is whole, changed by keyword. Manifests, and the resources made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from registry_access.model.resources import (
    Install,
    Namespace,
    Product,
    PullGrant,
    RegistryCredential,
    Resource,
    Secret,
)
from registry_access.model.resources.resource import resource_from_manifest

R = TypeVar("R", bound=Resource)
WORKSPACE = "acme"
HOST = "oci.akua.dev"
GROUP = "registry.akua.dev"
SMALLEST: Mapping[str, Mapping[str, Any]] = {
    "RegistryCredential": {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr"},
    "Product": {"repositories": ["ghcr.io/acme/app"]},
    "Install": {"repositories": ["ghcr.io/acme/app"]},
    "PullGrant": {"host": HOST, "images": ["ghcr.io/acme/*"], "pullSecret": "akua-pull-shop"},
}


def manifest(kind: str, name: str, spec: Mapping[str, Any], namespace: str = WORKSPACE, **metadata: Any) -> dict[str, Any]:
    """A manifest of a kind of ours with just this spec; `metadata` beside name and namespace."""
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": dict(spec),
    }


def whole(kind: str, **spec: Any) -> dict[str, Any]:
    """The smallest spec of a kind, changed by `spec`; None leaves a field out."""
    return {key: value for key, value in {**SMALLEST[kind], **spec}.items() if value is not None}


def namespace_manifest(
    name: str, *, workspace: bool = False, labels: Mapping[str, str] | None = None, **metadata: Any
) -> dict[str, Any]:
    """`workspace`: with the label that makes it one."""
    given = {**({f"{GROUP}/workspace": "true"} if workspace else {}), **(labels or {})}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": given, **metadata}}


def secret_manifest(name: str, values: Mapping[str, str], namespace: str = WORKSPACE, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "stringData": dict(values),
    }


def made(manifest: Mapping[str, Any], cls: type[R]) -> R:
    """The resource that a manifest describes."""
    resource = resource_from_manifest(dict(manifest))
    assert isinstance(resource, cls)
    return resource


def install(name: str = "shop", *, namespace: str = WORKSPACE, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Install:
    return made(manifest("Install", name, whole("Install", **spec), namespace, **(metadata or {})), Install)


def credential(
    name: str = "ghcr", *, namespace: str = WORKSPACE, metadata: Mapping[str, Any] | None = None, **spec: Any
) -> RegistryCredential:
    """An Anonymous one has no secret unless `spec` names one."""
    given = {"secretName": None, **spec} if spec.get("type") == "Anonymous" else spec
    return made(
        manifest("RegistryCredential", name, whole("RegistryCredential", **given), namespace, **(metadata or {})),
        RegistryCredential,
    )


def product(name: str = "storefront", *, namespace: str = WORKSPACE, **spec: Any) -> Product:
    return made(manifest("Product", name, whole("Product", **spec), namespace), Product)


def grant(install: str = "shop", *, namespace: str = "prod", labels: Mapping[str, str] | None = None, **spec: Any) -> PullGrant:
    """As the install sync writes it for the install."""
    owner = {f"{GROUP}/install": install, **(labels or {})}
    given = whole("PullGrant", **{"pullSecret": f"akua-pull-{install}", **spec})
    return made(manifest("PullGrant", install, given, namespace, labels=owner), PullGrant)


def secret(name: str = "ghcr", values: Mapping[str, str] | None = None, *, namespace: str = WORKSPACE, **metadata: Any) -> Secret:
    return made(secret_manifest(name, values or {"username": "u", "password": "p"}, namespace, **metadata), Secret)


def namespace(
    name: str = WORKSPACE, *, workspace: bool = False, labels: Mapping[str, str] | None = None, **metadata: Any
) -> Namespace:
    return made(namespace_manifest(name, workspace=workspace, labels=labels, **metadata), Namespace)

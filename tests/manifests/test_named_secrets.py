"""Who may name a Secret in a credential or an install: whoever may read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.manifests.conftest import once
from tests.support.api_requests import ApiRequests
from tests.support.stolen_tokens import custom, resource

RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/vault"
NAMESPACE = "vault"
# Rules of custom roles: all of them change credentials and installs, as `edit` does, and differ in the Secrets that they read.
READS: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "one": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["ghcr"], "verbs": ["get"]}],
    "lists": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}],
    "all": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
}
CHANGES = {"apiGroups": ["registry.akua.dev"], "resources": ["*"], "verbs": ["get", "create", "update", "patch", "delete"]}
BASIC = {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr"}


@pytest.fixture(scope="module", autouse=True)
def members(api: ApiRequests) -> Iterator[None]:
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, f"/api/v1/namespaces/{NAMESPACE}")
    for name, rules in READS.items():
        metadata, group = {"name": name, "namespace": NAMESPACE}, "rbac.authorization.k8s.io"
        made = {"apiVersion": f"{group}/v1", "metadata": metadata}
        api.apply({**made, "kind": "Role", "rules": [CHANGES, *rules]}, f"{RBAC}/roles/{name}")
        role = {"apiGroup": group, "kind": "Role", "name": name}
        subjects = [{"kind": "User", "apiGroup": group, "name": name}]
        binding = {**made, "kind": "RoleBinding", "roleRef": role, "subjects": subjects}
        api.apply(binding, f"{RBAC}/rolebindings/{name}")
    api.apply(credential("ghcr"), path("ghcr"))
    probe = credential("probe")
    once(lambda: api("APPLY", path("probe"), probe, user="nothing", dry_run=True), "may not read")
    yield
    api("DELETE", path("ghcr"))


def credential(name: str, **spec: Any) -> dict[str, Any]:
    return resource("RegistryCredential", NAMESPACE, name, {**BASIC, **spec})


def path(name: str, plural: str = "registrycredentials") -> str:
    return custom(NAMESPACE, plural, name)


@pytest.mark.parametrize(
    ("user", "secret", "allowed"),
    [
        ("nothing", "ghcr", False),
        ("nothing", "not-there-yet", False),
        ("lists", "ghcr", False),
        ("one", "ghcr", True),
        ("one", "quay", False),
        ("all", "quay", True),
    ],
)
def test_a_secret_is_named_by_who_may_read_it(api: ApiRequests, user: str, secret: str, *, allowed: bool) -> None:
    twin = credential("twin", registry="evil.example", secretName=secret)
    answer = api("APPLY", path("twin"), twin, user=user, dry_run=True)
    assert answer.allowed is allowed, answer.message
    spec = {"repositories": ["ghcr.io/acme/app"], "targets": [{"namespace": "x"}], "cluster": {"kubeconfigSecret": secret}}
    install = resource("Install", NAMESPACE, "shop", spec)
    answer = api("APPLY", path("shop", "installs"), install, user=user, dry_run=True)
    assert answer.allowed is allowed, answer.message
    if not allowed:
        assert f"names Secret {secret}, which {user} may not read in namespace {NAMESPACE}" in answer.message


@pytest.mark.parametrize(
    "change",
    [
        {"secretName": "quay"},
        {"realmHosts": ["evil.example"]},
        {"insecure": True},
        {"allowPrivateAddresses": True},
        {"type": "Token"},
    ],
    ids=str,
)
def test_where_a_secret_is_sent_is_changed_by_who_may_read_it(api: ApiRequests, change: dict[str, Any]) -> None:
    assert "may not read" in api("PATCH", path("ghcr"), {"spec": change}, user="nothing", dry_run=True).message
    assert api("PATCH", path("ghcr"), {"spec": change}, user="all", dry_run=True).allowed


@pytest.mark.parametrize("change", [{"disabled": True}, {"displayName": "x"}, {"repositories": ["acme/*"]}], ids=str)
def test_everything_else_needs_no_right_to_secrets(api: ApiRequests, change: dict[str, Any]) -> None:
    assert api("PATCH", path("ghcr"), {"spec": change}, user="nothing", dry_run=True).allowed
    assert api("DELETE", path("ghcr"), user="nothing", dry_run=True).allowed


def test_what_needs_no_secret_needs_no_right(api: ApiRequests) -> None:
    manifest = resource("RegistryCredential", NAMESPACE, "open", {"registry": "ghcr.io", "type": "Anonymous"})
    assert api("APPLY", path("open"), manifest, user="nothing", dry_run=True).allowed

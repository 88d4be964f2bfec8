"""Who may do what: nothing by wildcard, what each of our accounts may, and what members of a workspace may.

`AKUA_TEST_WRITE_SNAPSHOTS=1` writes the snapshots anew; look at what changed before you commit it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.support.api_requests import ApiRequests
from tests.support.kubernetes import ControlPlane
from tests.support.kustomize import BUILDS, Manifest, built, named, of_kind

SNAPSHOTS = Path(__file__).parent / "snapshots"
ACCOUNTS = {
    "akua-webhook": "system:serviceaccount:akua-system:akua-webhook",
    "akua-proxy": "system:serviceaccount:akua-system:akua-proxy",
    "akua-node-trust": "system:serviceaccount:akua-node-trust:akua-node-trust",
    "akua-postgresql": "system:serviceaccount:akua-system:akua-postgresql",
}
NOBODY = "system:serviceaccount:default:nobody"
KINDS = ("registrycredentials", "products", "installs")


def rules(manifests: list[Manifest]) -> list[tuple[str, Manifest]]:
    return [(role["metadata"]["name"], rule) for role in of_kind(manifests, "Role", "ClusterRole") for rule in role["rules"]]


@pytest.mark.parametrize("build", BUILDS)
def test_no_rule_is_wider_than_it_says(build: str) -> None:
    for name, rule in rules(built(build)):
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"], *rule.get("resourceNames", ())], name
        assert not {"escalate", "impersonate", "deletecollection"} & set(rule["verbs"]) or name == "akua-workspace-admin"
        if "bind" in rule["verbs"]:
            assert rule["resourceNames"] == ["akua-workspace-secrets"]
        assert not {"pods/exec", "serviceaccounts/token", "nodes/proxy"} & set(rule["resources"])


@pytest.mark.parametrize("build", BUILDS)
def test_secrets_are_named_or_a_workspaces_or_the_install_syncs(build: str) -> None:
    for name, rule in rules(built(build)):
        if "secrets" in rule["resources"] and "resourceNames" not in rule:
            assert name in ("akua-webhook", "akua-workspace-secrets")
    bound = [each["roleRef"]["name"] for each in of_kind(built(build), "ClusterRoleBinding")]
    assert sorted(bound) == ["akua-proxy", "akua-webhook"], "akua-workspace-secrets is for RoleBindings alone"


@pytest.mark.parametrize("namespace", ["akua-system", "shop-prod"])
@pytest.mark.parametrize("account", ACCOUNTS)
def test_what_each_account_may_is_what_was_looked_at(installed: ControlPlane, account: str, namespace: str) -> None:
    """kubectl auth can-i --list, without what every account may."""
    nobody = can_i(installed.kubectl, NOBODY, namespace)
    granted = [line for line in can_i(installed.kubectl, ACCOUNTS[account], namespace) if line not in nobody]
    shown = "".join(f"{line}\n" for line in sorted(granted))
    file = SNAPSHOTS / f"{account}.{namespace}.txt"
    if os.environ.get("AKUA_TEST_WRITE_SNAPSHOTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown)
    assert shown == file.read_text(), "if this is meant, run it with AKUA_TEST_WRITE_SNAPSHOTS=1"


@cache
def can_i(kubectl: Callable[..., str], account: str, namespace: str) -> list[str]:
    """resource, names and verbs, one a line."""
    listed = kubectl("auth", "can-i", "--list", "--as", account, "-n", namespace, "--no-headers")
    # RESOURCE  [non-resource URLs]  [names]  [verbs], in columns of any width.
    lines = []
    for line in listed.splitlines():
        resource, _, rest = line.partition("[")
        _, names, verbs = rest.split("[")
        lines.append(f"{resource.strip():<60} [{names.strip():<60} [{verbs.strip()}")
    return lines


@pytest.mark.parametrize(
    ("role", "allowed", "refused"),
    [
        ("view", ("get", "list", "watch"), ("create", "update", "patch", "delete", "deletecollection")),
        ("edit", ("get", "list", "watch", "create", "update", "patch", "delete"), ("deletecollection",)),
        ("admin", ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"), ()),
    ],
)
def test_members_of_a_workspace_have_its_registries_and_nobody_elses(
    api: ApiRequests, aggregated: None, role: str, allowed: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    for kind in KINDS:
        for verb in (*allowed, *refused):
            assert may(api, f"{role}@acme", verb, kind, "acme") is (verb in allowed), (verb, kind)
            assert not may(api, f"{role}@acme", verb, kind, "others"), (verb, kind)
        assert not may(api, f"{role}@acme", "list", kind, "")
    for verb in ("get", "list", "watch"):
        assert may(api, f"{role}@acme", verb, "pullgrants", "acme")
    for verb in ("create", "update", "patch", "delete"):
        assert not may(api, f"{role}@acme", verb, "pullgrants", "acme"), "the install sync's alone"
    assert may(api, f"{role}@acme", "patch", "registrycredentials/status", "acme") is (role == "admin")
    assert not may(api, f"{role}@acme", "patch", "installs/status", "acme")
    if role != "admin":  # it has edit's rules, which the controller manager would have filled in
        assert may(api, f"{role}@acme", "get", "secrets", "acme", group="") is (role == "edit"), "as Kubernetes itself has it"


@pytest.fixture(scope="module")
def aggregated(api: ApiRequests) -> None:
    """A member of acme for each of the three roles. The controller manager aggregates ClusterRoles; here the test does."""
    for namespace in ("acme", "others"):
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, f"/api/v1/namespaces/{namespace}")
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    present = api("GET", roles).body["items"]
    for role in ("view", "edit", "admin"):
        label = f"rbac.authorization.k8s.io/aggregate-to-{role}"
        given = [
            rule for each in present if each["metadata"].get("labels", {}).get(label) == "true" for rule in each["rules"] or ()
        ]
        name = f"test-{role}"
        member: Manifest = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
        api.apply(member | {"rules": given}, f"{roles}/{name}")
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": "acme"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"{role}@acme"}],
        }
        api.apply(binding, f"/apis/rbac.authorization.k8s.io/v1/namespaces/acme/rolebindings/{name}")


def may(api: ApiRequests, user: str, verb: str, resource: str, namespace: str, group: str = "registry.akua.dev") -> bool:
    kind, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": kind, "subresource": subresource, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    answer = api("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert answer.allowed, answer.message
    return bool(answer.body["status"]["allowed"])


def test_view_brings_no_secrets() -> None:
    for name, rule in rules(built("base")):
        labels = named(built("base"), "ClusterRole", name)["metadata"]["labels"] if name.startswith("akua-workspace") else {}
        if any(label.startswith("rbac.authorization.k8s.io/aggregate-to-") for label in labels):
            assert rule["apiGroups"] == ["registry.akua.dev"]

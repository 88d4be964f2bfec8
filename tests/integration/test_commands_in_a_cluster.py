"""`akua` on a real API server, by people with different rights: what kubectl lets them do, and clear words otherwise."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.akua_process import AKUA
from tests.support.cluster_process import install_rights
from tests.support.kubernetes import ControlPlane, control_plane

__all__ = ["control_plane"]
API = "registry.akua.dev/v1alpha1"
KUBERNETES_EDIT = ("system:aggregate-to-view", "system:aggregate-to-edit")  # what the controller manager would make `edit` of


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a kubeconfig."""

    kubeconfig: Path

    def akua(self, *arguments: str, input: str = "", code: int = 0) -> str:
        """What the command prints; its standard error when it is to fail with `code`."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AKUA_", "KUBE"))}
        environment = {**inherited, "KUBECONFIG": str(self.kubeconfig), "AKUA_STATE": "kubernetes", "COLUMNS": "200"}
        command = [str(AKUA), *arguments]
        done = subprocess.run(command, input=input, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code, f"akua {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stderr if code else done.stdout


@pytest.fixture(scope="module")
def world(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    install_rights(control_plane)
    workspace = {"labels": {"registry.akua.dev/workspace": "true"}}
    grant = {"host": "oci.akua.dev", "images": ["ghcr.io/acme/*"], "pullSecret": "akua-pull-shop"}
    apply(
        control_plane,
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **workspace}} for name in ("acme", "others")),
        {"apiVersion": API, "kind": "Product", "metadata": named("storefront"), "spec": {"repositories": ["ghcr.io/acme/*"]}},
        {"apiVersion": API, "kind": "Install", "metadata": named("shop"), "spec": {"product": "storefront"}},
        {
            "apiVersion": API,
            "kind": "RegistryCredential",
            "metadata": named("ghcr"),
            "spec": {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr"},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": named("ghcr"), "stringData": {"username": "u", "password": "canary"}},
        {"apiVersion": API, "kind": "PullGrant", "metadata": named("shop"), "spec": grant},
    )
    yield control_plane
    for namespace in ("acme", "others"):
        control_plane.kubectl("delete", "namespace", namespace, "--wait=false")


def named(name: str) -> dict[str, str]:
    return {"name": name, "namespace": "acme"}


def apply(plane: ControlPlane, *manifests: dict[str, Any]) -> None:
    plane.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))


def member(plane: ControlPlane, folder: Path, name: str, *roles: str) -> Person:
    """A ServiceAccount of acme with ClusterRoles there and nowhere else."""
    rbac = "rbac.authorization.k8s.io"
    apply(plane, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(name)})
    for role in roles:
        binding: dict[str, Any] = {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": named(f"{name}-{role}")}
        binding["roleRef"] = {"apiGroup": rbac, "kind": "ClusterRole", "name": role}
        binding["subjects"] = [{"kind": "ServiceAccount", **named(name)}]
        apply(plane, binding)
    config = yaml.safe_load(plane.kubeconfig.read_text())
    token = plane.kubectl("-n", "acme", "create", "token", name).strip()
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
    path = folder / f"{name}.kubeconfig"
    path.touch(0o600)
    path.write_text(json.dumps(config))
    return Person(path)


@pytest.fixture
def viewer(world: ControlPlane, tmp_path: Path) -> Person:
    return member(world, tmp_path, "viewer", "akua-workspace-view", "system:aggregate-to-view")


@pytest.fixture
def editor(world: ControlPlane, tmp_path: Path) -> Person:
    return member(world, tmp_path, "editor", "akua-workspace-view", "akua-workspace-edit", *KUBERNETES_EDIT)


@pytest.fixture
def administrator(world: ControlPlane) -> Person:
    return Person(world.kubeconfig)


def test_a_viewer_sees_the_workspace_and_is_told_what_may_not_be_seen(viewer: Person) -> None:
    assert "storefront" in viewer.akua("install", "list", "-w", "acme")
    assert "ghcr.io" in viewer.akua("credential", "list", "-w", "acme")
    told = viewer.akua("explain", "shop", "ghcr.io/acme/app:1", "-w", "acme", code=1)
    assert "you may not list Secrets in acme, so akua cannot tell" in told
    assert "is forbidden" in viewer.akua("install", "revoke", "shop", "-w", "acme", code=1)
    assert "--workspace" in viewer.akua("install", "list", code=1)
    assert "is forbidden" in viewer.akua("install", "list", "-w", "others", code=1)


def test_an_editor_works_in_the_workspace(editor: Person, world: ControlPlane) -> None:
    explained = json.loads(editor.akua("explain", "shop", "ghcr.io/acme/app:1", "-w", "acme", "-o", "json"))
    assert explained["allowed"] is True
    editor.akua("install", "revoke", "shop", "-w", "acme")
    assert world.kubectl("-n", "acme", "get", "install", "shop", "-o", "jsonpath={.spec.revoked}") == "true"
    editor.akua("install", "restore", "shop", "-w", "acme")
    editor.akua("credential", "add", "quay", "--registry", "quay.io", "--username", "robot", "-w", "acme", input="canary\n")
    versions = editor.akua("credential", "rotate", "quay", "-w", "acme", input="canary-two\n")
    assert "canary" not in versions
    editor.akua("credential", "delete", "quay", "-w", "acme", "--yes")
    assert world.kubectl("-n", "acme", "get", "secrets", "-o", "name").split() == ["secret/ghcr"]
    assert "forbidden" in editor.akua("install", "token", "shop", "-w", "acme", code=1), "it would have to read the signing key"


def test_manifests_are_rewritten_with_the_grants_of_a_namespace_that_one_may_see(viewer: Person) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": [{"image": "ghcr.io/acme/app:1"}]},
    }
    assert "oci.akua.dev/ghcr.io/acme/app:1" in viewer.akua("rewrite", "-n", "acme", input=json.dumps(pod))
    elsewhere = json.dumps({**pod, "metadata": {"name": "web", "namespace": "others"}})
    assert "forbidden" in viewer.akua("rewrite", input=elsewhere, code=1)


def test_an_administrator_sees_everything_and_no_command_leaves_a_trace(administrator: Person, world: ControlPlane) -> None:
    before = world.kubectl("get", "namespace", "akua-system", "-o", "jsonpath={.metadata.resourceVersion}")
    assert "acme" in administrator.akua("workspace", "list")
    assert "several" not in administrator.akua("install", "list", "-w", "acme")
    assert "--workspace" in administrator.akua("install", "list", code=2), "there are several workspaces"
    token = administrator.akua("install", "token", "shop", "-w", "acme").strip()
    assert token.count(".") == 2
    assert world.kubectl("get", "namespace", "akua-system", "-o", "jsonpath={.metadata.resourceVersion}") == before
    assert world.kubectl("get", "installs", "--all-namespaces", "-o", "name").split() == ["install.registry.akua.dev/shop"]

"""A customer on the cluster: a workspace with a credential and an install, and the namespace that its pods run in."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from registry_access.model.resources.metadata import API_VERSION
from tests.support.cluster import until
from tests.support.installation import HOST, Installation

INSTALL, CREDENTIAL = "shop", "upstream"
PATIENCE = 180.0  # seconds; a loaded machine takes its time
_DECISION = re.compile(r"\b(?P<reason>[a-z]+(?:-[a-z]+)+)\b[^\n]*?(?P<decision>dec_[0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What kubelet's event says of a pull that was refused."""

    reason: str
    decision: str
    message: str


@dataclass(frozen=True, slots=True)
class Tenant:
    """`username` and `password` are the upstream's, and this workspace's alone."""

    installation: Installation
    name: str
    username: str
    password: str = field(repr=False)

    @property
    def workspace(self) -> str:
        return f"ws-{self.name}"

    @property
    def namespace(self) -> str:
        return f"shop-{self.name}"

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        """In the namespace of the pods."""
        return self.installation.cluster.kubectl("-n", self.namespace, *arguments, input=input, check=check)

    def in_workspace(self, *arguments: str) -> str:
        return self.installation.cluster.kubectl("-n", self.workspace, *arguments)

    def image(self, name: str, tag: str = "1") -> str:
        """An image of this tenant's own repositories."""
        return self.installation.image(f"{self.name}/{name}", tag)

    def proxied(self, name: str, tag: str = "1") -> str:
        return self.installation.proxied(self.image(name, tag))

    def admitted(self, image: str, *options: str) -> str:
        """The image of a pod as the API server would store it."""
        command = ["run", "probe", f"--image={image}", "--dry-run=server", "-o", "jsonpath={.spec.containers[0].image}", *options]
        return self.kubectl(*command)

    def wait_until_rewritten(self) -> None:
        """Grant and Secret are there, the webhook knows them, and the API server reaches it."""
        image = self.image("probe")
        wanted = self.installation.proxied(image)
        until(lambda: self.kubectl("get", "serviceaccount", "default", "--ignore-not-found"), seconds=PATIENCE)
        until(
            lambda: self.admitted(image) == wanted,
            seconds=PATIENCE,
            why=lambda: self.installation.cluster.kubectl("get", "akua,pods", "-A", check=False),
        )

    def authorization(self) -> str:
        """What kubelet sends, from the pull Secret."""
        secret = self.installation.cluster.get("-n", self.namespace, "secret", f"akua-pull-{INSTALL}")
        config: dict[str, Any] = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
        return f"Basic {config['auths'][HOST]['auth']}"

    def wait_until_served(self) -> None:
        """Every proxy has been let into the workspace, which takes the leader a moment."""
        image, authorization = self.image("probe"), self.authorization()
        until(lambda: set(self.installation.ask_proxies(image, authorization)) == {200}, seconds=PATIENCE)

    def start(self, name: str, image: str, *command: str, policy: str = "Always", **spec: Any) -> None:
        """Creates a pod."""
        self.kubectl("create", "-f", "-", input=json.dumps(pod(name, image, command, policy=policy, **spec)))

    def phase(self, name: str) -> str:
        return self.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}")

    def wait_for(self, name: str, *phases: str) -> None:
        """Until the pod is in one of `phases`."""
        until(lambda: self.phase(name) in phases, seconds=PATIENCE, why=lambda: self.describe(name))

    def describe(self, name: str) -> str:
        return self.kubectl("describe", "pod", name, check=False)

    def events(self, name: str) -> list[str]:
        """Messages of the events on a pod."""
        found = self.installation.cluster.items("-n", self.namespace, "events", f"--field-selector=involvedObject.name={name}")
        return [event["message"] for event in found]

    def refusal(self, name: str) -> Refusal:
        """Waits until kubelet says that a pull of this pod was refused by the proxy."""

        def look() -> Refusal | None:
            for message in self.events(name):
                if found := _DECISION.search(message):
                    return Refusal(found["reason"], found["decision"], message)
            return None

        found = until(look, seconds=PATIENCE, why=lambda: self.describe(name))
        assert found is not None
        return found

    def explain(self, image: str) -> dict[str, Any]:
        """What `akua explain` says, asked in the proxy's pod."""
        done = self.installation.akua("explain", INSTALL, image, "--workspace", self.workspace, "--output", "json")
        assert done.returncode in (0, 3), done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def audit(self, *options: str) -> list[dict[str, Any]]:
        """Rows of this workspace, newest first."""
        done = self.installation.akua("audit", "list", "--workspace", self.workspace, "--output", "json", "-n", "1000", *options)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found


@contextmanager
def tenant(installation: Installation) -> Iterator[Tenant]:
    """A new one, whose pods are rewritten already; removed without waiting for that."""
    name = f"t{secrets.token_hex(3)}"
    made = Tenant(installation, name, f"robot-{name}", f"canary-{secrets.token_hex(12)}")
    installation.registry.add_user(made.username, made.password)
    installation.cluster.apply(*_manifests(made))
    try:
        made.wait_until_rewritten()
        made.wait_until_served()
        yield made
    finally:
        installation.cluster.kubectl("delete", "namespace", made.workspace, made.namespace, "--wait=false", check=False)
        installation.registry.remove_user(made.username)


def _manifests(made: Tenant) -> Sequence[dict[str, Any]]:
    def namespace(name: str, **metadata: dict[str, str]) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **metadata}}

    def resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": name, "namespace": made.workspace}
        return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}

    registry = made.installation.registry.authority
    return (
        namespace(made.workspace, labels={"registry.akua.dev/workspace": "true"}),
        namespace(made.namespace, annotations={"registry.akua.dev/workspaces": made.workspace}),
        credential_secret(made.workspace, made.username, made.password),
        resource("RegistryCredential", CREDENTIAL, {"registry": registry, "type": "Basic", "secretName": CREDENTIAL}),
        resource("Product", "storefront", {"repositories": [f"{registry}/{made.name}/*"]}),
        resource("Install", INSTALL, {"product": "storefront", "targets": [{"namespace": made.namespace}]}),
    )


def credential_secret(workspace: str, username: str, password: str) -> dict[str, Any]:
    """As `kubectl create secret generic upstream --from-literal=username=... --from-literal=password=...` makes it."""
    values = {"username": username, "password": password}
    metadata = {"name": CREDENTIAL, "namespace": workspace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": values}


def pod(name: str, image: str, command: Sequence[str] = (), *, policy: str = "Always", **spec: Any) -> dict[str, Any]:
    """`policy` Always: the registry is asked at every start."""
    container: dict[str, Any] = {"name": "main", "image": image, "imagePullPolicy": policy}
    if command:
        container["command"] = list(command)
    made = {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": made}

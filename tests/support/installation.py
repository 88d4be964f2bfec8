"""Akua as a cluster runs it: our image, our manifests (overlay kind, fitted to this one node), a private upstream beside it."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import yaml

from demo_registry.image import MANIFEST_TYPE
from registry_access.model.names.proxied_reference import Proxied, to_proxied
from tests.support.busybox_images import busybox_image
from tests.support.cluster import OneNode, RealCluster, hack
from tests.support.docker_registry import DockerRegistry, docker_registry
from tests.support.programs import requires_program
from tests.support.pushing import push_repository

MANIFESTS = Path(__file__).parents[2] / "manifests"
HOST = "oci.akua.dev"
SYSTEM = "akua-system"
_CA_FOLDER = "/upstream-ca"


@dataclass(frozen=True, slots=True)
class Installation:
    """`overlay` is the kustomization that was applied; `registry` the private upstream that its proxy may reach."""

    cluster: OneNode
    registry: DockerRegistry
    overlay: Path
    pushed: set[str] = field(default_factory=set)

    def image(self, repository: str, tag: str = "1") -> str:
        """The name of an image that the upstream has, pushed there at the first call."""
        name = f"{repository}:{tag}"
        if name not in self.pushed:
            with self.registry.client() as client:
                push_repository(client, repository, busybox_image(repository, tag))
            self.pushed.add(name)
        return f"{self.registry.authority}/{name}"

    def proxied(self, image: str) -> str:
        """An image's name behind the proxy."""
        found = to_proxied(image, HOST)
        assert isinstance(found, Proxied)
        return found.reference

    def akua(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, run in a proxy's pod."""
        return self.cluster.run("-n", SYSTEM, "exec", "deploy/akua-proxy", "--", "akua", *arguments)

    def ask_proxies(self, image: str, authorization: str) -> list[int]:
        """The status with which each proxy answers a request for the image's manifest."""
        _, _, name = self.proxied(image).partition("/")
        repository, _, tag = name.rpartition(":")
        pods = self.cluster.items("-n", SYSTEM, "pods", "-l", "app.kubernetes.io/name=akua-proxy")
        authority = self.cluster.get("-n", SYSTEM, "configmap", "akua-ca")["data"]["ca.crt"]
        tls = ssl.create_default_context(cadata=authority)
        headers = {"Host": HOST, "Authorization": authorization, "Accept": MANIFEST_TYPE}
        with httpx.Client(verify=tls, trust_env=False, headers=headers, timeout=30) as client:
            addresses = [pod["status"]["podIP"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
            urls = [f"https://{address}:15000/v2/{repository}/manifests/{tag}" for address in addresses]
            return [client.head(url, extensions={"sni_hostname": HOST}).status_code for url in urls]

    def apply(self) -> None:
        """Applied, and waited for until everything of it is ready."""
        self.cluster.kubectl("apply", "--server-side", "--kustomize", str(self.overlay))
        self.wait()

    def wait(self) -> None:
        """Until all replicas that are wanted are ready."""
        for namespace, workload in (
            (SYSTEM, "statefulset/akua-postgresql"),
            (SYSTEM, "deployment/akua-webhook"),
            (SYSTEM, "deployment/akua-proxy"),
            ("akua-node-trust", "daemonset/akua-node-trust"),
        ):
            done = self.cluster.run("-n", namespace, "rollout", "status", workload, "--timeout=300s", seconds=330)
            assert done.returncode == 0, done.stdout + done.stderr + self.cluster.kubectl("get", "pods,events", "-A", check=False)

    def pods(self, part: str) -> list[str]:
        """Names of the pods of ``webhook``, ``proxy`` or ``node-trust``, whatever their state."""
        return self.cluster.kubectl("get", "pods", "-A", "-l", f"registry.akua.dev/part={part}", "-o", "name").split()


@contextmanager
def installation(cluster: RealCluster, folder: Path) -> Iterator[Installation]:
    """Image built (or taken from the cache), loaded, applied and ready; the upstream runs until the end.

    Skips loudly where the cluster is not this machine's own node, or a program is missing; fails then in CI.
    """
    if not isinstance(cluster, OneNode) or os.geteuid() != 0:
        pytest.skip("these tests load images and restart parts: they need the node of `hack/cluster up`, and root")
    for program in ("buildah", "debootstrap"):
        requires_program(program)
    print("images and manifests are being brought to the node", file=sys.stderr)
    image = Path(hack("image", "--debian"))
    cluster.load(image, Path(hack("postgresql-image")))
    with docker_registry(folder / "registry", name=cluster.address, address=cluster.address) as registry:
        overlay = _write_overlay(folder / "overlay", cluster, registry, image.parent.name)
        made = Installation(cluster, registry, overlay)
        made.apply()
        yield made


def _write_overlay(folder: Path, cluster: OneNode, registry: DockerRegistry, image_version: str) -> Path:
    folder.mkdir()
    (folder / "ca.crt").write_bytes(registry.ca_file.read_bytes())

    def relative(path: Path) -> str:
        return os.path.relpath(path.resolve(), folder.resolve())

    def patch(kind: str, name: str, *operations: dict[str, object]) -> dict[str, object]:
        return {"target": {"kind": kind, "name": name}, "patch": yaml.safe_dump(list(operations))}

    def add(path: str, value: object) -> dict[str, object]:
        return {"op": "add", "path": path, "value": value}

    container, pod = "/spec/template/spec/containers/0", "/spec/template/spec"
    # The tag stays the same when the image does not: pods are replaced when it was built anew.
    version = add("/spec/template/metadata/annotations", {"image-version": image_version})
    settings = {"AKUA_UPSTREAM_ALLOWED_NETWORKS": f"{cluster.address}/32", "AKUA_UPSTREAM_CA_FILE": f"{_CA_FOLDER}/ca.crt"}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [relative(MANIFESTS / "overlays" / "kind")],
        "components": [relative(MANIFESTS / "components" / "fail-closed")],
        "images": [{"name": "docker.io/library/postgres", "newName": "localhost/akua-postgresql", "newTag": "dev"}],
        "configMapGenerator": [{"name": "upstream-ca", "namespace": SYSTEM, "files": ["ca.crt"]}],
        "patches": [
            patch("Deployment", "akua-webhook", version),
            patch(
                "Deployment",
                "akua-proxy",
                version,
                add(f"{pod}/volumes/-", {"name": "upstream-ca", "configMap": {"name": "upstream-ca"}}),
                add(f"{container}/volumeMounts/-", {"name": "upstream-ca", "mountPath": _CA_FOLDER}),
                *(add(f"{container}/env/-", {"name": name, "value": value}) for name, value in settings.items()),
            ),
            patch(
                "DaemonSet",
                "akua-node-trust",
                version,
                {"op": "replace", "path": f"{pod}/volumes/0/hostPath/path", "value": str(cluster.certs_d)},
            ),
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder

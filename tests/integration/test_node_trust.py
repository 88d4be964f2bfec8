"""`akua node-trust` against a real API server, with the rights that manifests/components/node-trust gives and no others."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from registry_access.runtime.tls.certificate_authority import CertificateAuthority
from tests.support.akua_process import AKUA
from tests.support.kubernetes import ControlPlane, control_plane
from tests.support.ports import free_port

__all__ = ["control_plane"]
COMPONENT = Path(__file__).parents[2] / "manifests" / "components" / "node-trust"
ACCOUNT = "system:serviceaccount:akua-node-trust:akua-node-trust"
CA = CertificateAuthority.new("old", 10).pair.certificate.decode()
NEXT_CA = CertificateAuthority.new("new", 10).pair.certificate.decode()


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The proxy's namespace, and the component's ServiceAccount and Role."""
    control_plane.kubectl("create", "namespace", "akua-system")
    for name in ("namespace", "service-account", "role"):
        control_plane.kubectl("apply", "-f", str(COMPONENT / f"{name}.yaml"))
    yield control_plane
    control_plane.kubectl("delete", "namespace", "akua-system", "akua-node-trust", "--wait=false")


class Node:
    """A node's folder, and the command as its DaemonSet's pod runs it."""

    def __init__(self, cluster: ControlPlane, folder: Path) -> None:
        self.certs_d = folder / "certs.d"
        self._kubeconfig = folder / "kubeconfig"
        config = yaml.safe_load(cluster.kubeconfig.read_text())
        token = cluster.kubectl("create", "token", "akua-node-trust", "--namespace", "akua-node-trust").strip()
        config["users"][0]["user"] = {"token": token}
        self._kubeconfig.write_text(yaml.safe_dump(config))

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AKUA_", "KUBE"))}
        settings = {"AKUA_CONTAINERD_CONFIG_PATH": str(self.certs_d), "AKUA_HOST": "oci.akua.dev:8443"}
        return kept | settings | {"KUBECONFIG": str(self._kubeconfig)}

    def run(self, *arguments: str) -> tuple[int, str]:
        command = [str(AKUA), "node-trust", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stderr

    def file(self, name: str) -> str:
        return (self.certs_d / "oci.akua.dev_8443_" / name).read_text()

    @contextmanager
    def process(self, address: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Running until it is ready and then until the block ends, stopped by pid."""
        process = subprocess.Popen([AKUA, "node-trust", "--operations-address", address, *arguments], env=self.environment)
        try:
            _wait_for(f"http://{address}/readyz", 200, process)
            yield process
        finally:
            process.terminate()
            process.wait(15)


def _wait_for(url: str, status: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=2).status_code == status:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{url} did not answer {status}")


def test_a_node_follows_the_service_and_the_ca_and_keeps_what_it_has(cluster: ControlPlane, tmp_path: Path) -> None:
    node = Node(cluster, tmp_path)
    code, said = node.run("--once")
    assert (code, "Service akua-proxy does not exist in akua-system" in said) == (1, True), said
    assert not node.certs_d.exists()

    cluster.kubectl("create", "service", "clusterip", "akua-proxy", "--namespace", "akua-system", "--tcp=443:15000")
    address = cluster.kubectl("get", "service", "akua-proxy", "-n", "akua-system", "-o", "jsonpath={.spec.clusterIP}")
    cluster.kubectl("create", "configmap", "akua-ca", "--namespace", "akua-system", f"--from-literal=ca.crt={CA}")
    operations = f"127.0.0.1:{free_port()}"
    with node.process(operations):
        assert f'server = "https://{address}"' in node.file("hosts.toml")
        assert CA in node.file("ca.crt")
        assert 'akua_node_trust_looks_total{result="written"} 1.0' in httpx.get(f"http://{operations}/metrics").text
        assert httpx.get(f"http://{operations}/livez").status_code == 200
    assert CA in node.file("ca.crt"), "what was written stays when it ends"

    both = yaml.safe_dump({"data": {"ca.crt": CA + NEXT_CA}})
    cluster.kubectl("patch", "configmap", "akua-ca", "--namespace", "akua-system", "--patch", both)
    assert node.run("--once") == (0, f"akua: {node.certs_d}/oci.akua.dev_8443_ is written\n")
    assert CA.strip() + "\n" + NEXT_CA.strip() in node.file("ca.crt")
    assert node.run("--once") == (0, f"akua: {node.certs_d}/oci.akua.dev_8443_ is as it should be\n")

    cluster.kubectl("delete", "rolebinding", "akua-node-trust", "--namespace", "akua-system")
    try:
        code, said = node.run("--once")
        assert (code, "not allowed" in said) == (1, True), said
        assert CA in node.file("ca.crt")
    finally:
        cluster.kubectl("apply", "-f", str(COMPONENT / "role.yaml"))
    with node.process(operations, "--remove", "--stay"):
        assert list(node.certs_d.iterdir()) == [], "gone, and ready: a DaemonSet's rollout goes on"
    assert node.run("--remove") == (0, f"akua: {node.certs_d}/oci.akua.dev_8443_ has nothing of ours\n")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (("get", "services/akua-proxy", "-n", "akua-system"), "yes"),
        (("get", "configmaps/akua-ca", "-n", "akua-system"), "yes"),
        (("get", "services/akua-webhook", "-n", "akua-system"), "no"),
        (("list", "services", "-n", "akua-system"), "no"),
        (("watch", "configmaps", "-n", "akua-system"), "no"),
        (("get", "configmaps/akua-settings", "-n", "akua-system"), "no"),
        (("get", "secrets/akua-ca", "-n", "akua-system"), "no"),
        (("get", "services/akua-proxy", "-n", "default"), "no"),
    ],
)
def test_its_account_may_read_two_objects_and_nothing_else(cluster: ControlPlane, question: tuple[str, ...], answer: str) -> None:
    said = cluster.kubectl("auth", "can-i", *question, "--as", ACCOUNT, check=False)
    assert said.split() == [answer]

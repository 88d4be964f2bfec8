"""A real API server and etcd on loopback, without nodes: what the Kubernetes adapter is tested against."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from registry_access.state.kubernetes.client.access import ClusterAccess
from tests.support.ports import free_port
from tests.support.programs import requires_program

KUBERNETES_VERSION = "v1.34.4"
CRDS = Path(__file__).parents[2] / "manifests" / "base" / "crds"
SERVER_NAME = "kubernetes.default.svc"  # the names in the certificate that the API server makes for itself
_TOKEN = "control-plane-test-token"


@dataclass(slots=True)
class ControlPlane:
    """`server` is ``https://127.0.0.1:port``; `kubeconfig` is an administrator's."""

    server: str
    certificate: Path
    kubeconfig: Path
    token: str
    etcd: str
    processes: dict[str, subprocess.Popen[bytes]]

    def access(self, server: str = "") -> ClusterAccess:
        """An administrator's access, through `server` when something stands between."""

        async def token() -> str:
            return self.token

        tls = ssl.create_default_context(cafile=str(self.certificate))
        return ClusterAccess(server or self.server, tls, token, tls_server_name=SERVER_NAME)

    def service_account_access(self, namespace: str, name: str) -> ClusterAccess:
        """A ServiceAccount's, which is made when it is not there; it may do what RBAC lets it."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        self.kubectl("apply", "-f", "-", input=json.dumps(account))
        value = self.kubectl("-n", namespace, "create", "token", name, "--duration=1h").strip()

        async def token() -> str:
            return value

        return replace(self.access(), token=token)

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        """kubectl's standard output; with `check=False` its standard error too."""
        command = [str(kubectl_program()), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, check=False, timeout=60)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr


def api_server_metrics(plane: ControlPlane) -> str:
    """What the API server counts, in the Prometheus text format."""
    return plane.kubectl("get", "--raw", "/metrics")


def kubectl_program() -> Path:
    """kubectl, from the package that brings it (beside our Python), or from the path."""
    beside = Path(sys.executable).parent / "kubectl"
    return beside if beside.exists() else requires_program("kubectl")


def find_api_server() -> Path:
    """KUBEBUILDER_ASSETS, or the cache that `hack/cluster` fills. Skips loudly without, fails in CI."""
    folders = [os.environ.get("KUBEBUILDER_ASSETS", ""), os.environ.get("AKUA_KUBERNETES_BINARIES", "")]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "akua" / "kubernetes" / KUBERNETES_VERSION
    for folder in [*(Path(folder) for folder in folders if folder), cache]:
        if (folder / "kube-apiserver").exists():
            return folder / "kube-apiserver"
    message = "no kube-apiserver: run `hack/cluster build`, or set KUBEBUILDER_ASSETS"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running_control_plane(
    folder: Path, *, port: int = 0, etcd: Path | None = None, audited: str = "", admission: str = ""
) -> Iterator[ControlPlane]:
    """etcd (None: Debian's) and kube-apiserver with our CRDs, in `folder`, stopped at the end. Ready in about 3 s.

    `audited`: an audit policy (audit.k8s.io/v1); the log is then `audit_log(folder)`. `admission`: an AdmissionConfiguration
    (apiserver.config.k8s.io/v1).
    """
    if audited:
        (folder / "audit-policy.yaml").write_text(audited)
    if admission:
        (folder / "admission.yaml").write_text(admission)
    api_server, etcd = find_api_server(), etcd or requires_program("etcd")
    port = port or free_port()
    etcd_url, peer_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    etcd_command = [str(etcd), "--data-dir", str(folder / "etcd"), "--listen-client-urls", etcd_url]
    etcd_command += ["--advertise-client-urls", etcd_url, "--listen-peer-urls", peer_url, "--unsafe-no-fsync"]
    etcd_command += ["--initial-advertise-peer-urls", peer_url, "--initial-cluster", f"default={peer_url}"]
    plane = ControlPlane(
        f"https://127.0.0.1:{port}",
        folder / "certificates" / "apiserver.crt",
        folder / "kubeconfig",
        _TOKEN,
        etcd_url,
        {"etcd": _start(etcd_command, folder / "etcd.log")},
    )
    try:
        command = _api_server_command(api_server, folder, port, etcd_url)
        plane.processes["kube-apiserver"] = _start(command, folder / "kube-apiserver.log")
        _wait_until_ready(plane, folder)
        plane.kubectl("apply", "--server-side", "--kustomize", str(CRDS))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield plane
    finally:
        for name in ("kube-apiserver", "etcd"):
            stop_process(plane.processes.get(name))


def audit_log(folder: Path) -> Path:
    """JSON lines, one for each request that the audit policy names."""
    return folder / "audit.log"


@contextmanager
def running_controllers(plane: ControlPlane, folder: Path, *names: str) -> Iterator[None]:
    """Those of Kubernetes' controllers: ``namespace-controller`` empties and removes namespaces that are deleted."""
    program = find_api_server().parent / "kube-controller-manager"
    if not program.exists():
        program = requires_program("kube-controller-manager")
    options = {"kubeconfig": str(plane.kubeconfig), "leader-elect": "false", "secure-port": "0", "controllers": ",".join(names)}
    command = [str(program), *(f"--{name}={value}" for name, value in options.items())]
    process = _start(command, folder / "kube-controller-manager.log")
    try:
        yield
    finally:
        stop_process(process)


def restart_api_server(plane: ControlPlane, folder: Path) -> None:
    """The API server anew, on the same port and etcd. Stop it first."""
    port = int(plane.server.rpartition(":")[2])
    command = _api_server_command(find_api_server(), folder, port, plane.etcd)
    plane.processes["kube-apiserver"] = _start(command, folder / "kube-apiserver.log")
    _wait_until_ready(plane, folder)


def stop_process(process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def _api_server_command(program: Path, folder: Path, port: int, etcd: str) -> list[str]:
    key, tokens = folder / "service-account.key", folder / "tokens.csv"
    if not key.exists():
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
        key.write_bytes(made.private_bytes(encoding, form, serialization.NoEncryption()))
        tokens.write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
    options: dict[str, object] = {
        "etcd-servers": etcd,
        "secure-port": str(port),
        "bind-address": "127.0.0.1",
        "advertise-address": _own_address(),
        "cert-dir": str(folder / "certificates"),
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": str(key),
        "service-account-signing-key-file": str(key),
        "service-cluster-ip-range": "10.96.0.0/16",
        "authorization-mode": "RBAC",
        "token-auth-file": str(tokens),
        "disable-admission-plugins": "ServiceAccount",
        "event-ttl": "10m",
    }
    if (folder / "audit-policy.yaml").exists():
        options |= {"audit-policy-file": folder / "audit-policy.yaml", "audit-log-path": audit_log(folder)}
    if (folder / "admission.yaml").exists():
        options["admission-control-config-file"] = folder / "admission.yaml"
    return [str(program), *(f"--{name}={value}" for name, value in options.items())]


def _own_address() -> str:
    """An address of this machine that is not loopback, which the API server insists on advertising."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # sends nothing
        address: str = probe.getsockname()[0]
        if not address.startswith("127."):
            return address
    return "192.0.2.1"


def _wait_until_ready(plane: ControlPlane, folder: Path) -> None:
    cluster: dict[str, Any] = {"server": plane.server, "tls-server-name": SERVER_NAME}
    cluster["certificate-authority"] = str(plane.certificate)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": plane.token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    plane.kubeconfig.write_text(yaml.safe_dump(config))
    plane.kubeconfig.chmod(0o600)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if plane.processes["kube-apiserver"].poll() is not None:
            break
        if plane.certificate.exists() and "ok" in plane.kubectl("get", "--raw", "/readyz", check=False).split():
            return
        time.sleep(0.2)
    raise AssertionError("the API server did not become ready:\n" + (folder / "kube-apiserver.log").read_text()[-3000:])


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One for all tests of a run."""
    with running_control_plane(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane

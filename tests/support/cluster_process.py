"""A real `akua webhook` or `akua proxy` process on a control plane, with the rights of its ServiceAccount and no others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from tests.support.akua_process import AKUA
from tests.support.kubernetes import ControlPlane
from tests.support.ports import free_port

MANIFESTS = Path(__file__).parents[2] / "manifests" / "base"


@dataclass(slots=True)
class ClusterProcess:
    """`port` is the webhook's or the proxy's, on 127.0.0.1."""

    folder: Path
    port: int
    operations: str
    process: subprocess.Popen[bytes]

    def failures(self) -> dict[str, str]:
        """What is not ready, by check; "answer" when nothing answers yet."""
        try:
            answer = httpx.get(f"http://{self.operations}/readyz", timeout=2)
        except httpx.HTTPError:
            return {"answer": "none"}
        return dict(answer.json()["failures"])

    def wait_until_ready(self, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while failures := self.failures():
            assert self.process.poll() is None, self.logs()
            assert time.monotonic() < deadline, f"{failures}\n{self.logs()}"
            time.sleep(0.1)

    def logs(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


def install_rights(plane: ControlPlane) -> None:
    """Our namespace, the manifests' ServiceAccounts and RBAC, and the policies on what these may write.

    Without the one on pull grants, which reads the host from the settings that kustomize generates.
    """
    plane.kubectl("apply", "-f", str(MANIFESTS / "namespace.yaml"))
    for part in ("webhook", "proxy"):
        for name in ("service-account", "role", "cluster-role"):
            plane.kubectl("apply", "-f", str(MANIFESTS / part / f"{name}.yaml"))
    policies = [
        path for path in sorted(MANIFESTS.rglob("*-policy.yaml")) if path.name not in ("network-policy.yaml", "grant-policy.yaml")
    ]
    for file in (MANIFESTS / "workspaces" / "cluster-roles.yaml", *policies):
        plane.kubectl("apply", "-f", str(file))


@contextmanager
def cluster_process(plane: ControlPlane, folder: Path, program: str, **settings: str) -> Iterator[ClusterProcess]:
    """`program` is webhook or proxy. Started, not waited for; stopped by its pid. `settings` are AKUA_ names in lower case."""
    folder.mkdir(parents=True, exist_ok=True)
    port, operations = free_port(), f"127.0.0.1:{free_port()}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AKUA_", "KUBE"))},
        "KUBECONFIG": str(account_kubeconfig(plane, folder, f"akua-{program}")),
        "AKUA_STATE": "kubernetes",
        "AKUA_PRIVATE_REGISTRIES": "*",  # registries of tests are on loopback
        f"AKUA_{program.upper()}_ADDRESS": f"127.0.0.1:{port}",
        "AKUA_OPERATIONS_ADDRESS": operations,
        **{f"AKUA_{name.upper()}": value for name, value in settings.items()},
    }
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([AKUA, program], env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    running = ClusterProcess(folder, port, operations, process)
    try:
        yield running
    finally:
        running.stop()


def account_kubeconfig(plane: ControlPlane, folder: Path, account: str, namespace: str = "akua-system") -> Path:
    """With a ServiceAccount's token, good for two hours."""
    config = yaml.safe_load(plane.kubeconfig.read_text())
    token = plane.kubectl("-n", namespace, "create", "token", account, "--duration=2h").strip()
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
    path = folder / "kubeconfig"
    path.touch(0o600)
    path.write_text(json.dumps(config))
    return path

"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler: their certificates and command lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .certificates import Authority, KeyPair
from .debian_packages import program
from .kubeconfig import write_kubeconfig
from .network import SERVICE_RANGE, SERVICE_RANGE_FIRST
from .processes import Daemons

_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost")


@dataclass(frozen=True, slots=True)
class Ports:
    """Of one run; all ephemeral, so that clusters do not meet."""

    api_server: int
    etcd: int
    etcd_peer: int
    kubelet: int
    kube_proxy: int
    kube_proxy_metrics: int


class ControlPlane:
    """Everything of it is in `folder`. `address` is this machine's, not loopback: the API server insists on advertising one."""

    def __init__(self, folder: Path, daemons: Daemons, ports: Ports, address: str, authority: Authority) -> None:
        self._folder, self._daemons, self._ports, self._address = folder, daemons, ports, address
        self.server = f"https://127.0.0.1:{ports.api_server}"
        self.authority = authority.pair.certificate
        self._authority_key = authority.pair.key
        self._serving = authority.issue(
            "kube-apiserver", "kube-apiserver", hosts=(*_NAMES, "127.0.0.1", address, SERVICE_RANGE_FIRST)
        )
        self._kubelet_client = authority.issue("kube-apiserver-kubelet-client", "kube-apiserver", organization="system:masters")
        self._accounts = authority.signing_key("service-accounts")
        self.admin = authority.issue("admin", "admin", organization="system:masters")
        self._scheduler = authority.issue("kube-scheduler", "system:kube-scheduler")
        self.kubeconfig = self.write_kubeconfig("kubeconfig", self.admin)

    def write_kubeconfig(self, file: str, client: KeyPair) -> Path:
        return write_kubeconfig(self._folder / file, self.server, self.authority, client)

    def start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._ports.etcd, self._ports.etcd_peer))
        options = {
            "data-dir": self._folder / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }
        # The data does not outlive the run, so that nothing needs to reach the disk.
        self._daemons.start("etcd", [program("etcd"), *_flags(options), "--unsafe-no-fsync"])

    def start_api_server(self, binary: Path, *, bind: str) -> None:
        options = {
            "etcd-servers": f"http://127.0.0.1:{self._ports.etcd}",
            "bind-address": bind,
            "secure-port": self._ports.api_server,
            "advertise-address": self._address,
            "client-ca-file": self.authority,
            "tls-cert-file": self._serving.certificate,
            "tls-private-key-file": self._serving.key,
            "kubelet-certificate-authority": self.authority,
            "kubelet-client-certificate": self._kubelet_client.certificate,
            "kubelet-client-key": self._kubelet_client.key,
            "kubelet-preferred-address-types": "InternalIP",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self._accounts.certificate,
            "service-account-signing-key-file": self._accounts.key,
            "service-cluster-ip-range": SERVICE_RANGE,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
        }
        self._daemons.start("kube-apiserver", [binary, *_flags(options)])

    def start_controllers(self, binary: Path) -> None:
        options = {
            "kubeconfig": self.kubeconfig,
            "leader-elect": "false",
            "secure-port": 0,
            "root-ca-file": self.authority,
            "service-account-private-key-file": self._accounts.key,
            "cluster-signing-cert-file": self.authority,
            "cluster-signing-key-file": self._authority_key,
            "service-cluster-ip-range": SERVICE_RANGE,
            "flex-volume-plugin-dir": self._folder / "volume-plugins",
        }
        self._daemons.start("kube-controller-manager", [binary, *_flags(options)])

    def start_scheduler(self, binary: Path) -> None:
        kubeconfig = self.write_kubeconfig("kube-scheduler.kubeconfig", self._scheduler)
        options = {"kubeconfig": kubeconfig, "leader-elect": "false", "secure-port": 0}
        self._daemons.start("kube-scheduler", [binary, *_flags(options)])


def _flags(options: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]

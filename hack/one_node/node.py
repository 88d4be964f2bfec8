"""kubelet and kube-proxy: their certificates, configuration files and command lines."""

from __future__ import annotations

import json
from pathlib import Path

from .certificates import Authority
from .control_plane import ControlPlane, Ports
from .network import POD_RANGE
from .processes import Daemons

NODE_NAME = "akua-node"
_RESOLVER = Path("/etc/resolv.conf")


class Node:
    """Runs as root, in the machine's own namespaces; cgroups v1 and v2 alike, because kubelet manages none of its own."""

    def __init__(self, folder: Path, daemons: Daemons, ports: Ports, address: str, authority: Authority) -> None:
        self._folder, self._daemons, self._ports, self._address = folder, daemons, ports, address
        self._client = authority.issue(
            "kubelet", f"system:node:{NODE_NAME}", organization="system:nodes", hosts=(NODE_NAME, address)
        )
        self._proxy_client = authority.issue("kube-proxy", "system:kube-proxy")

    def start_kubelet(self, binary: Path, plane: ControlPlane, containerd_socket: Path) -> None:
        static_pods = self._folder / "static-pods"
        static_pods.mkdir(exist_ok=True)
        config = self._write(
            "kubelet.json",
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "address": "0.0.0.0",  # noqa: S104 (the API server reaches it by the node's address; it asks for a certificate)
                "port": self._ports.kubelet,
                "healthzPort": 0,
                "containerRuntimeEndpoint": f"unix://{containerd_socket}",
                "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(plane.authority)}},
                "authorization": {"mode": "Webhook"},
                "tlsCertFile": str(self._client.certificate),
                "tlsPrivateKeyFile": str(self._client.key),
                "cgroupDriver": "cgroupfs",
                "cgroupsPerQOS": False,
                "enforceNodeAllocatable": [],
                "failCgroupV1": False,
                "failSwapOn": False,
                "featureGates": {"KubeletInUserNamespace": True},  # machines without CAP_SYS_RESOURCE
                "localStorageCapacityIsolation": False,
                "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
                "imageGCHighThresholdPercent": 100,
                "makeIPTablesUtilChains": False,
                "podLogsDir": str(self._folder / "pod-logs"),
                "volumePluginDir": str(self._folder / "volume-plugins"),
                "staticPodPath": str(static_pods),
                "resolvConf": str(_RESOLVER) if _RESOLVER.exists() else "",
                "serializeImagePulls": False,
                "shutdownGracePeriod": "0s",
            },
        )
        kubeconfig = plane.write_kubeconfig("kubelet.kubeconfig", self._client)
        options = {
            "config": config,
            "kubeconfig": kubeconfig,
            "hostname-override": NODE_NAME,
            "node-ip": self._address,
            "root-dir": self._folder / "kubelet",
            "cert-dir": self._folder / "kubelet" / "pki",
        }
        self._daemons.start("kubelet", [binary, *(f"--{name}={value}" for name, value in options.items())])

    def start_kube_proxy(self, binary: Path, plane: ControlPlane) -> None:
        kubeconfig = plane.write_kubeconfig("kube-proxy.kubeconfig", self._proxy_client)
        config = self._write(
            "kube-proxy.json",
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "clientConnection": {"kubeconfig": str(kubeconfig)},
                "hostnameOverride": NODE_NAME,
                "mode": "iptables",
                # Pods of one bridge answer each other past the node's address translation, unless they answer the node.
                "iptables": {"masqueradeAll": True},
                "clusterCIDR": POD_RANGE,
                "conntrack": {"maxPerCore": 0, "min": 0},
                "healthzBindAddress": f"127.0.0.1:{self._ports.kube_proxy}",
                "metricsBindAddress": f"127.0.0.1:{self._ports.kube_proxy_metrics}",
            },
        )
        self._daemons.start("kube-proxy", [binary, f"--config={config}"])

    def _write(self, file: str, config: dict[str, object]) -> Path:
        path = self._folder / file
        path.write_text(json.dumps(config, indent=1))
        return path

"""The cluster of one run folder: up, down and what is between."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import binaries, cgroups, debian_packages, leftovers, network
from .api_client import ApiClient
from .certificates import Authority, KeyPair
from .containerd import Containerd
from .control_plane import ControlPlane, Ports
from .errors import ClusterError
from .kubeconfig import server_of
from .node import NODE_NAME, Node
from .processes import Daemons

STOP_ORDER = ("kube-proxy", "kubelet", "kube-scheduler", "kube-controller-manager", "containerd", "kube-apiserver", "etcd")
_NODE_OWNER = Path("/run/akua-cluster")  # which run folder has the machine's one bridge and its firewall rules


class Cluster:
    """Nothing in memory: every call reads the run folder, so that any process can stop what another one started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.daemons = Daemons(self.folder)
        self.kubeconfig = self.folder / "kubeconfig"

    @property
    def running(self) -> bool:
        """Whether it came up, and every part of it still lives."""
        return (self.folder / "complete").exists() and all(daemon.alive for daemon in self.daemons.all())

    def up(self, *, control_plane_only: bool = False, controllers: bool = False) -> bool:
        """Starts what is asked for; False when it already ran. A crashed one is cleared away first. Raises ClusterError."""
        with self._locked():
            kind = "control plane" if control_plane_only else "node"
            if self.running:
                if (self.folder / "complete").read_text() != kind:
                    raise ClusterError(f"{self.folder} runs another kind of cluster: take it down first, or give another --dir")
                return False
            self._down()
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                self._start(control_plane_only=control_plane_only, controllers=controllers)
            except BaseException:
                self._stop_daemons()  # the logs stay for a look; the next `up` or `down` clears the rest
                raise
            (self.folder / "complete").write_text(kind)
            return True

    def down(self) -> bool:
        """Stops it in the right order and removes everything of it. False when there was nothing."""
        if not self.folder.exists():
            return False
        with self._locked():
            self._down()
        return True

    def restart(self, name: str, *, kill: bool = False) -> None:
        """Stops one part (`kill`: as a crash would) and starts it as it was; returns when the API server answers again.

        Raises ClusterError when there is no such part, or it does not come back.
        """
        daemon = self.daemons.find(name)
        if daemon is None or not daemon.command:
            known = ", ".join(one.name for one in self.daemons.all()) or "none: hack/cluster up"
            raise ClusterError(f"unknown part: {name}; choose from {known}")
        daemon.stop(kill=kill)
        self.daemons.start(name, daemon.command)
        certificates = self.folder / "certificates"
        client = KeyPair(certificates / "admin.crt", certificates / "admin.key")
        api = ApiClient(server_of(self.kubeconfig), certificates / "ca.crt", client)
        self._wait(name, api.ready, name)

    def load(self, archive: Path) -> None:
        """Puts the images of an OCI or Docker archive on the node. Raises ClusterError."""
        if not self.daemons.find("containerd"):
            raise ClusterError("no node runs here; start one with hack/cluster up")
        Containerd(self.folder, self.daemons).import_archive(archive)

    def _start(self, *, control_plane_only: bool, controllers: bool) -> None:
        controllers = controllers or not control_plane_only
        programs = {name: _found(name) for name in needed_programs(control_plane_only, controllers)}
        address = network.own_address(for_node=not control_plane_only)
        ports = Ports(*network.free_ports(6))
        authority = Authority(self.folder / "certificates")
        plane = ControlPlane(self.folder, self.daemons, ports, address, authority)
        plane.start_etcd()
        plane.start_api_server(programs["kube-apiserver"], bind="127.0.0.1" if control_plane_only else "0.0.0.0")  # noqa: S104 (pods)
        containerd = Containerd(self.folder, self.daemons)
        if not control_plane_only:
            self._claim_node()
            cgroups.hand_down()
            network.connect(self.folder)
            containerd.start()
        api = ApiClient(plane.server, plane.authority, plane.admin)
        self._wait("the API server", api.ready, "etcd", "kube-apiserver")
        if controllers:
            plane.start_controllers(programs["kube-controller-manager"])
        if control_plane_only:
            return
        plane.start_scheduler(programs["kube-scheduler"])
        self._wait("containerd", containerd.ready, "containerd")
        containerd.import_images()
        node = Node(self.folder, self.daemons, ports, address, authority)
        node.start_kubelet(programs["kubelet"], plane, containerd.socket)
        node.start_kube_proxy(programs["kube-proxy"], plane)
        self._wait("the node", lambda: api.node_ready(NODE_NAME), "kubelet", "containerd", "kube-apiserver")
        self._wait("Services", lambda: network.answers(ports.kube_proxy), "kube-proxy")
        self._wait("the controllers", api.default_account_ready, "kube-controller-manager")

    def _wait(self, what: str, ready: Callable[[], bool], *needed: str, seconds: float = 120) -> None:
        """Raises ClusterError with the end of a log when a part of it dies or the time is over."""
        deadline = time.monotonic() + seconds
        while not ready():
            dead = [one for one in self.daemons.all() if one.name in needed and not one.alive]
            if dead or time.monotonic() > deadline:
                log = self.daemons.log(dead[0].name if dead else needed[0])
                end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise ClusterError(f"{what} did not become ready; the end of {log}:\n{end}")
            time.sleep(0.1)

    def _down(self) -> None:
        self._stop_daemons()
        containerd = self.folder / "containerd"
        if containerd.exists():
            leftovers.remove_containers(containerd)
            leftovers.remove_service_rules(binaries.find("kube-proxy"))
            network.disconnect(self.folder)
            leftovers.remove_empty_cgroups()
            leftovers.remove_log_links(self.folder)
        if left := leftovers.remove_mounts(self.folder):
            raise ClusterError(f"these mounts are in use, so that {self.folder} is left as it is: {', '.join(left)}")
        if _NODE_OWNER.exists() and _NODE_OWNER.read_text() == str(self.folder):
            _NODE_OWNER.unlink()
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _stop_daemons(self) -> None:
        for name in STOP_ORDER:
            self.daemons.stop(name)

    def _claim_node(self) -> None:
        if _NODE_OWNER.exists():
            owner = Cluster(Path(_NODE_OWNER.read_text()))
            if owner.folder != self.folder and any(daemon.alive for daemon in owner.daemons.all()):
                raise ClusterError(f"this machine already is the node of {owner.folder}: hack/cluster down --dir {owner.folder}")
            if owner.folder != self.folder:
                owner.down()
        _NODE_OWNER.write_text(str(self.folder))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two commands on one run folder wait for each other."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = self.folder.parent / f".{self.folder.name}.lock"
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def needed_programs(control_plane_only: bool, controllers: bool) -> tuple[str, ...]:
    if not control_plane_only:
        return binaries.PROGRAMS
    return binaries.PROGRAMS[: 2 if controllers else 1]


def prepare(*, control_plane_only: bool, controllers: bool = False) -> None:
    """Packages and programs, installed and built where they are missing. Raises ClusterError where that cannot be."""
    if sys.platform != "linux":
        raise ClusterError("Kubernetes without Docker needs Linux; with a Docker engine running, hack/cluster uses kind")
    if not control_plane_only and os.geteuid() != 0:
        raise ClusterError("a node needs root: run it with sudo, or take --control-plane-only")
    packages = debian_packages.CONTROL_PLANE if control_plane_only else {**debian_packages.CONTROL_PLANE, **debian_packages.NODE}
    debian_packages.ensure(packages)
    binaries.build(needed_programs(control_plane_only, controllers))


def _found(name: str) -> Path:
    path = binaries.find(name)
    if path is None:
        raise ClusterError(f"{name} is not built: hack/cluster build {name}")
    return path

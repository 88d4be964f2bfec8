"""The pods' network: one bridge, addresses by host-local, one masquerading rule; and taking all of that away."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import subprocess
from pathlib import Path

from .debian_packages import program
from .errors import ClusterError

NAME = "akua"
BRIDGE = "akua0"
POD_RANGE = "10.244.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
SERVICE_RANGE_FIRST = "10.96.0.1"  # the API server's own Service
_PORTS = range(20000, 30000)  # below Linux's ip_local_port_range (32768) and Kubernetes' node ports (30000)
_NO_ROUTE = "192.0.2.1"  # RFC 5737: an address for a control plane that nobody reaches from elsewhere
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_MASQUERADE = [
    "POSTROUTING",
    "-s",
    POD_RANGE,
    "!",
    "-d",
    POD_RANGE,
    "-m",
    "comment",
    "--comment",
    "akua-cluster",
    "-j",
    "MASQUERADE",
]


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different.

    Not of those that the system gives to clients: while a server is restarted, a client of its own, or anybody's, would get it.
    """
    with contextlib.ExitStack() as stack:
        candidates = random.sample(_PORTS, len(_PORTS))
        sockets: list[socket.socket] = []
        while len(sockets) < count and candidates:
            one = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("", candidates.pop()))
                sockets.append(one)
        if len(sockets) < count:
            raise ClusterError(f"no free ports among {_PORTS.start} to {_PORTS.stop - 1}")
        return [one.getsockname()[1] for one in sockets]


def answers(port: int) -> bool:
    """Whether something listens on 127.0.0.1."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def own_address(*, for_node: bool) -> str:
    """This machine's address towards elsewhere. Raises ClusterError where a node has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect((_NO_ROUTE, 9))  # sends nothing
        address: str = probe.getsockname()[0]
        if not address.startswith("127."):
            return address
    if for_node:
        raise ClusterError("a node needs an IPv4 address that is not loopback, and this machine has none with a default route")
    return _NO_ROUTE


def write_cni(folder: Path, state: Path) -> None:
    """containernetworking.io, network configuration list 0.4.0."""
    folder.mkdir(parents=True, exist_ok=True)
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,  # one rule for all, which is known by its comment, instead of a chain for each pod
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(state),
            "ranges": [[{"subnet": POD_RANGE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    (folder / "10-akua.conflist").write_text(json.dumps({"cniVersion": "0.4.0", "name": NAME, "plugins": plugins}, indent=1))


def connect(folder: Path) -> None:
    """Routes between pods, Services and elsewhere. What forwarding was before is kept in `folder` for `disconnect`."""
    (folder / "ip_forward").write_text(_FORWARDING.read_text())
    _FORWARDING.write_text("1")
    if not _iptables("-C", *_MASQUERADE):
        _iptables("-A", *_MASQUERADE)


def disconnect(folder: Path) -> None:
    """Removes bridge and rules, and sets forwarding as it was. Never fails on what is already gone."""
    while _iptables("-D", *_MASQUERADE):
        pass
    _remove_port_mappings()
    _remove_firewall()
    for link in _links_of_bridge():
        subprocess.run([program("ip"), "link", "delete", link], capture_output=True, check=False)
    subprocess.run([program("ip"), "link", "delete", BRIDGE], capture_output=True, check=False)
    before = folder / "ip_forward"
    if before.exists():
        _FORWARDING.write_text(before.read_text())


def _links_of_bridge() -> list[str]:
    return [port.name for port in Path(f"/sys/class/net/{BRIDGE}/brif").glob("*")]


def _iptables(action: str, *rule: str, table: str = "nat") -> bool:
    done = subprocess.run([program("iptables"), "-w", "-t", table, action, *rule], capture_output=True, check=False)
    return done.returncode == 0


def _remove_firewall() -> None:
    """The one chain that ``kube-proxy --cleanup`` leaves behind."""
    for chain in ("INPUT", "OUTPUT"):
        _iptables("-D", chain, "-j", "KUBE-FIREWALL", table="filter")
    _iptables("-F", "KUBE-FIREWALL", table="filter")
    _iptables("-X", "KUBE-FIREWALL", table="filter")


def _remove_port_mappings() -> None:
    """The chains that the portmap plugin made for pods of ours that a crash kept it from removing."""
    listed = subprocess.run([program("iptables"), "-w", "-t", "nat", "-S"], capture_output=True, text=True, check=False).stdout
    for rule in listed.splitlines():
        found = re.search(r'^-A (CNI-HOSTPORT-DNAT .*name: \\"' + NAME + r'\\".* -j (CNI-DN-\w+))$', rule)
        if not found:
            continue
        subprocess.run(f"iptables -w -t nat -D {found[1]}", shell=True, capture_output=True, check=False)  # noqa: S602 (iptables' own quoting)
        _iptables("-F", found[2])
        _iptables("-X", found[2])

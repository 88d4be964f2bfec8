"""The name: do nodes find the proxy by it? By the DaemonSet that tells them, or because it is a public one."""

from __future__ import annotations

from collections.abc import Sequence

from control.doctor.cluster.installation import NODE_TRUST, Installation
from control.doctor.finding import Check, bad, good, unseen
from control.doctor.machine import host_name

_REMEDY = (
    "give it a public name and certificate (docs/install.md, first way), "
    "or add manifests/components/node-trust, which tells every node's containerd (second way)"
)


def name_checks(installation: Installation, addresses: Sequence[str]) -> list[Check]:
    """`addresses` are what the name resolves to here."""
    name, look = host_name(installation.host), installation.node_trust
    resolves = f"{name} is {', '.join(addresses)} here" if addresses else f"{name} does not resolve here"
    if not look.seen:
        how = f"whether {NODE_TRUST} tells the nodes cannot be looked at"
        return [good("name", f"{resolves}; {how}") if addresses else unseen("name", look.problem, f"{resolves}; {how}")]
    if look.object is None:
        if addresses:
            return [good("name", f"{resolves}; nodes must resolve it too, and no {NODE_TRUST} tells them otherwise")]
        return [bad("name", f"{resolves}, and no DaemonSet {NODE_TRUST} tells the nodes: no pod can pull; {_REMEDY}")]
    return [good("name", f"{name}: nodes are told by {NODE_TRUST}"), _rollout(installation)]


def _rollout(installation: Installation) -> Check:
    look, check = installation.node_trust, "node-trust"
    wanted, ready = int(look.at("status", "desiredNumberScheduled") or 0), int(look.at("status", "numberReady") or 0)
    told = look.at("spec", "template", "spec", "containers") or [{}]
    host = next((str(item.get("value")) for item in told[0].get("env") or () if item.get("name") == "AKUA_HOST"), "")
    kubectl = f"kubectl -n {NODE_TRUST}"
    if host and host != installation.host:
        return bad(
            check, f"tells nodes about {host}, the proxy is {installation.host}; apply the overlay again with one AKUA_HOST"
        )
    if not wanted:
        return bad(check, f"runs on no node; `{kubectl} describe daemonset {NODE_TRUST}` says why")
    if ready < wanted:
        remedy = f"`{kubectl} get pods -o wide` names them, their log says why"
        return bad(check, f"{wanted - ready} of {wanted} nodes are not told yet: pods there cannot pull; {remedy}")
    return good(check, f"{ready} of {wanted} nodes are told")

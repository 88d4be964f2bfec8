"""The name: do nodes find the proxy by it, through the DaemonSet that configures them or because the name is public?"""

from __future__ import annotations

from collections.abc import Sequence

from control.doctor.cluster.installation import NODE_TRUST, Installation
from control.doctor.finding import Check, bad, good, unseen
from control.doctor.machine import host_name

_REMEDY = (
    "give it a public name and certificate (docs/install.md, first way), "
    "or add manifests/components/node-trust, which configures every node's containerd (second way)"
)


def name_checks(installation: Installation, addresses: Sequence[str]) -> list[Check]:
    """`addresses` are the ones that the name resolves to here."""
    name, look = host_name(installation.host), installation.node_trust
    resolves = f"{name} resolves to {', '.join(addresses)} here" if addresses else f"{name} does not resolve here"
    if not look.seen:
        how = f"whether {NODE_TRUST} configures nodes cannot be checked"
        return [good("name", f"{resolves}; {how}") if addresses else unseen("name", look.problem, f"{resolves}; {how}")]
    if look.object is None:
        if addresses:
            return [good("name", f"{resolves}; nodes must resolve it too, because {NODE_TRUST} is not installed")]
        return [bad("name", f"{resolves}, and DaemonSet {NODE_TRUST} is not installed, so no pod can pull; {_REMEDY}")]
    return [good("name", f"{name} is configured on nodes by {NODE_TRUST}"), _rollout(installation)]


def _rollout(installation: Installation) -> Check:
    look, check = installation.node_trust, "node-trust"
    wanted, ready = int(look.at("status", "desiredNumberScheduled") or 0), int(look.at("status", "numberReady") or 0)
    told = look.at("spec", "template", "spec", "containers") or [{}]
    host = next((str(item.get("value")) for item in told[0].get("env") or () if item.get("name") == "AKUA_HOST"), "")
    kubectl = f"kubectl -n {NODE_TRUST}"
    if host and host != installation.host:
        return bad(
            check,
            f"configures nodes for {host}, but the proxy is {installation.host}; apply the overlay again with one AKUA_HOST",
        )
    if not wanted:
        return bad(check, f"runs on no node; see `{kubectl} describe daemonset {NODE_TRUST}`")
    if ready < wanted:
        remedy = f"run `{kubectl} get pods -o wide` to find them, and check their logs"
        return bad(check, f"{wanted - ready} of {wanted} nodes are not configured yet, so pods there cannot pull; {remedy}")
    return good(check, f"{ready} of {wanted} nodes are configured")

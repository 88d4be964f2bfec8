"""The processes: are they there, ready, and reached by their Services?"""

from __future__ import annotations

from control.doctor.cluster.installation import PROXY, WEBHOOK, Installation
from control.doctor.cluster.view import Look
from control.doctor.finding import Check, bad, good, unseen, warning
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE

_KUBECTL = f"kubectl -n {SYSTEM_NAMESPACE}"


def part_checks(installation: Installation) -> list[Check]:
    """A line a Deployment, and one a Service."""
    return [
        _deployment(WEBHOOK, installation.webhook),
        _endpoints(WEBHOOK, installation, "the API server cannot call the webhook"),
        _deployment(PROXY, installation.proxy),
        _endpoints(PROXY, installation, "no node can pull"),
    ]


def _deployment(name: str, look: Look) -> Check:
    check = f"deployment {name}"
    if not look.seen:
        return unseen(check, look.problem)
    if look.object is None:
        return bad(check, f"is not in {SYSTEM_NAMESPACE}; `kubectl apply -k` an overlay of manifests/ installs it")
    wanted, ready = int(look.at("spec", "replicas") or 0), int(look.at("status", "readyReplicas") or 0)
    if not wanted:
        return bad(check, f"is scaled to none; `{_KUBECTL} scale deployment {name} --replicas=2`")
    if ready < wanted:
        told = f"{ready} of {wanted} pods are ready; `{_KUBECTL} describe pods -l app.kubernetes.io/name={name}` says why"
        return warning(check, told) if ready else bad(check, told)
    return good(check, f"{ready} of {wanted} pods are ready")


def _endpoints(name: str, installation: Installation, consequence: str) -> Check:
    check, listing = f"service {name}", installation.endpoints[name]
    if listing.problem:
        return unseen(check, listing.problem, "its endpoints cannot be looked at")
    ready = {
        address
        for item in listing.items
        for endpoint in item.get("endpoints") or ()
        # Unset means unknown, which counts as ready (EndpointSlice v1).
        if (endpoint.get("conditions") or {}).get("ready") in (True, None)
        for address in endpoint.get("addresses") or ()
    }
    if not ready:
        remedy = f"`{_KUBECTL} get endpointslices,pods` shows which pods are not ready"
        return bad(check, f"has no ready endpoint: {consequence}; {remedy}")
    return good(check, f"{len(ready)} ready endpoint{'s' if len(ready) > 1 else ''}")

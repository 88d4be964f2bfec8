"""The Deployments: do they exist, are they ready, and do their Services reach them?"""

from __future__ import annotations

from control.doctor.cluster.installation import PROXY, WEBHOOK, Installation
from control.doctor.cluster.view import Listing, Lookup
from control.doctor.finding import Check, bad, good, unseen, warning
from registry_access.model.audit_event import safe_text
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.state.kubernetes.client.raw_objects import RawObject

_KUBECTL = f"kubectl -n {SYSTEM_NAMESPACE}"
_WORDS_MAXIMUM = 300


def part_checks(installation: Installation) -> list[Check]:
    """One line per Deployment and one per Service."""
    return [
        _deployment(WEBHOOK, installation.webhook, installation.processes.get(WEBHOOK, Listing())),
        _endpoints(WEBHOOK, installation, "the API server cannot call the webhook"),
        _deployment(PROXY, installation.proxy, installation.processes.get(PROXY, Listing())),
        _endpoints(PROXY, installation, "no node can pull"),
    ]


def _deployment(name: str, look: Lookup, pods: Listing) -> Check:
    check = f"deployment {name}"
    if not look.seen:
        return unseen(check, look.problem)
    if look.object is None:
        return bad(
            check, f"does not exist in {SYSTEM_NAMESPACE}; run `kubectl apply -k` with an overlay of manifests/ to install it"
        )
    wanted, ready = int(look.at("spec", "replicas") or 0), int(look.at("status", "readyReplicas") or 0)
    if not wanted:
        return bad(check, f"is scaled to 0; run `{_KUBECTL} scale deployment {name} --replicas=2`")
    if failing := [told for pod in pods.items if (told := _failure(pod))]:
        # Old pods may still serve: the Deployment counts them as ready while the new version never starts.
        more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
        return bad(check, f"{ready} of {wanted} pods are ready, and {failing[0]}{more}")
    stuck = next(
        (item for item in look.at("status", "conditions") or () if item.get("reason") == "ProgressDeadlineExceeded"), None
    )
    if stuck is not None or _replica_failure(look):
        words = _replica_failure(look) or str(stuck and stuck.get("message"))
        return bad(check, f"its new version does not start: {words}; see `{_KUBECTL} rollout status deployment {name}`")
    if ready < wanted:
        problem = f"{ready} of {wanted} pods are ready; see `{_KUBECTL} describe pods -l app.kubernetes.io/name={name}`"
        return warning(check, problem) if ready else bad(check, problem)
    return good(check, f"{ready} of {wanted} pods are ready")


def _failure(pod: RawObject) -> str:
    """What keeps a pod from running; "" if nothing does so far."""
    name, status = (pod.get("metadata") or {}).get("name"), pod.get("status") or {}
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = str(waiting.get("reason") or "")
        if reason == "CrashLoopBackOff":
            ended = (container.get("lastState") or {}).get("terminated") or {}
            words = safe_text(str(ended.get("message") or ""), _WORDS_MAXIMUM)
            last = f" ({words})" if words else f" (exit code {ended['exitCode']})" if "exitCode" in ended else ""
            return f"{name} keeps crashing{last}; see `{_KUBECTL} logs {name} --previous`"
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            words = safe_text(str(waiting.get("message") or reason), _WORDS_MAXIMUM)
            return f"{name} does not start: {reason}: {words}; see `{_KUBECTL} describe pod {name}`"
    return ""


def _replica_failure(look: Lookup) -> str:
    """Why no pod can be made (a quota, a policy), "" when they can."""
    conditions = look.at("status", "conditions") or ()
    for item in conditions:
        if (item.get("type"), item.get("status")) == ("ReplicaFailure", "True"):
            return safe_text(str(item.get("message") or ""), _WORDS_MAXIMUM)
    return ""


def _endpoints(name: str, installation: Installation, consequence: str) -> Check:
    check, listing = f"service {name}", installation.endpoints[name]
    if listing.problem:
        return unseen(check, listing.problem, "its endpoints cannot be checked")
    ready = {
        address
        for item in listing.items
        for endpoint in item.get("endpoints") or ()
        # Unset means unknown, which counts as ready (EndpointSlice v1).
        if (endpoint.get("conditions") or {}).get("ready") in (True, None)
        for address in endpoint.get("addresses") or ()
    }
    if not ready:
        remedy = f"run `{_KUBECTL} get endpointslices,pods` to see which pods are not ready"
        return bad(check, f"has no ready endpoint: {consequence}; {remedy}")
    return good(check, f"{len(ready)} ready endpoint{'s' if len(ready) > 1 else ''}")

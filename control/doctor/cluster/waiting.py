"""Pods that wait for an image that the proxy was to give: whatever is wrong on the way, they meet it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from control.doctor.cluster.installation import Installation
from control.doctor.cluster.state import State
from control.doctor.cluster.view import EVENT, POD, ClusterView, Listing
from control.doctor.finding import Check, bad, good, unseen
from registry_access.model.audit_event import safe_text
from registry_access.state.kubernetes.client.raw_objects import RawObject

CHECK = "pulls"
_NAMESPACES_LOOKED_AT = 50
_NAMED = 3
_WORDS_MAXIMUM = 300
_WAITING = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ErrImageNeverPull", "InvalidImageName"})
_CERTS_D = (
    "its node does not use what node-trust writes: set `config_path` to /etc/containerd/certs.d in containerd's configuration "
    "and restart containerd, or give AKUA_HOST a public name (docs/operations.md, certificate problems)"
)
# What is seen in the kubelet's words, and the way out; the first that fits.
_REMEDIES: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern, re.IGNORECASE), remedy)
    for pattern, remedy in (
        (
            r"upstream-(unauthorized|denied)",
            "the upstream refuses the workspace's credential: `kubectl -n {namespace} get rcred`",
        ),
        (r"upstream-rate-limited", "the upstream limits the rate: wait, or use an account with a higher limit"),
        (
            r"(?<!upstream-)rate-limited",
            "its install pulls more than it may: find the loop by `akua audit list --install NAME`, or raise "
            "AKUA_PULL_INSTALL_RATE (docs/operations.md, limits of the audit trail)",
        ),
        (r"upstream-", "the upstream does not give it: its status page, and the egress of akua-system"),
        (r"audit-unavailable", "the audit trail cannot be written: free space on its volume, or bring its database back"),
        (r"state-stale", "the proxy has lost its watch on the API server: see the lines freshness"),
        (r"credential-|secret-", "no credential opens it: `kubectl get rcred,installs -A` says which and why"),
        (r"install-(revoked|expired)", "its install is revoked or expired: `kubectl get installs -A`"),
        (r"not-entitled", "its install's product does not include it"),
        (r"token-|install-", "its pull Secret is not current: see the lines install and leader"),
        (r"no such host|server misbehaving", _CERTS_D),
        (r"x509|certificate|tls:", _CERTS_D),
        (
            r"connection refused|no route|timeout|deadline exceeded|EOF",
            "the proxy cannot be reached from its node: see route, service",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class _Wait:
    """One container that waits; `words` are the kubelet's."""

    namespace: str
    pod: str
    image: str
    words: str


async def waiting_check(view: ClusterView, installation: Installation, state: State) -> Check:
    """Everywhere or, where that is not allowed, in the first namespaces with grants."""
    found = await view.list(POD, fields="status.phase=Pending")
    listings = [found] if not found.problem else await _of_grants(view, state)
    if not listings:
        return unseen(CHECK, found.problem, "pods that wait for an image cannot be looked at")
    waits = [wait for listing in listings for pod in listing.items for wait in _waits(pod, f"{installation.host}/")]
    if not waits:
        return good(CHECK, "no pod waits for an image of the proxy's")
    told = [await _told(view, wait) for wait in waits[:_NAMED]]
    more = f"; and {len(waits) - _NAMED} more" if len(waits) > _NAMED else ""
    pods = len({(wait.namespace, wait.pod) for wait in waits})
    return bad(CHECK, f"{pods} pod{'s wait' if pods > 1 else ' waits'} for an image: {'; '.join(told)}{more}")


async def _of_grants(view: ClusterView, state: State) -> list[Listing]:
    namespaces = sorted({grant.metadata.namespace for grant in state.index.all_grants()})[:_NAMESPACES_LOOKED_AT]
    found = [await view.list(POD, namespace, fields="status.phase=Pending") for namespace in namespaces]
    return [listing for listing in found if not listing.problem]


def _waits(pod: RawObject, prefix: str) -> Iterator[_Wait]:
    metadata, status, spec = (pod.get(part) or {} for part in ("metadata", "status", "spec"))
    images = {
        container.get("name"): str(container.get("image") or "")
        for part in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(part) or ()
    }
    for part in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for container in status.get(part) or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            # The status has an image's name as the runtime resolved it; the spec has the one that was asked for.
            image = images.get(container.get("name")) or str(container.get("image") or "")
            if waiting.get("reason") in _WAITING and image.lower().startswith(prefix.lower()):
                words = str(waiting.get("message") or waiting["reason"])
                yield _Wait(str(metadata.get("namespace")), str(metadata.get("name")), image, words)


async def _told(view: ClusterView, wait: _Wait) -> str:
    words = wait.words
    if not _remedy(words):
        # While the kubelet backs off, the cause is in the pod's Events alone.
        events = await view.list(EVENT, wait.namespace, fields=f"involvedObject.name={wait.pod},reason=Failed")
        messages = [str(event.get("message") or "") for event in events.items]
        words = next((message for message in reversed(messages) if _remedy(message)), words)
    described = f"`kubectl -n {wait.namespace} describe pod {wait.pod}` has every word"
    remedy = (_remedy(words) or described).format(namespace=wait.namespace)
    return f"{wait.namespace}/{wait.pod}, {wait.image}: {safe_text(words, _WORDS_MAXIMUM)}; {remedy}"


def _remedy(words: str) -> str:
    return next((remedy for pattern, remedy in _REMEDIES if pattern.search(words)), "")

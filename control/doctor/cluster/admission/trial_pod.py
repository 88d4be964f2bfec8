"""A trial pod, created by dry run: is a pod that a grant covers rewritten and given its pull Secret?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control.doctor.cluster.state import State
from control.doctor.cluster.view import REFUSED, ClusterView
from control.doctor.finding import Check, bad, good, unseen, warning
from registry_access.model.label_selector import LabelSelector, Operator
from registry_access.model.resources import PullGrant

_TAG = "akua-doctor"


async def trial_check(view: ClusterView, host: str, state: State) -> Check:
    """Checks the first namespace with a grant."""
    for grant in sorted(state.index.all_grants(), key=lambda item: (item.metadata.namespace, item.metadata.name)):
        labels = labels_for(grant.pod_selector)
        if labels is not None and grant.host == host and not state.is_going(grant.metadata.namespace):
            return await _try(view, grant, labels)
    if state.unseen_grants:
        return unseen("trial pod", state.unseen_grants, "pull grants cannot be looked at")
    return warning("trial pod", f"no namespace has a pull grant for {host} yet, so there is nothing to test")


async def _try(view: ClusterView, grant: PullGrant, labels: Mapping[str, str]) -> Check:
    namespace, image = grant.metadata.namespace, f"{str(grant.images[0]).replace('*', _TAG)}:{_TAG}"
    check = f"trial pod {namespace}"
    try:
        answer = await view.try_pod(namespace, _pod(image, labels))
    except REFUSED as error:
        return warning(check, f"could not be created: {error}")
    spec = answer.get("spec") or {}
    became = str(((spec.get("containers") or [{}])[0]).get("image", ""))
    secrets = {secret.get("name") for secret in spec.get("imagePullSecrets") or ()}
    if not became.startswith(f"{grant.host}/"):
        problem = f"a pod with {image} was not rewritten although grant {grant.metadata.name} covers it, so pods fail to pull"
        return bad(check, f"{problem}; check registration, deployment akua-webhook and the namespace's labels")
    if grant.pull_secret not in secrets:
        return bad(
            check, f"a pod became {became} without the pull Secret {grant.pull_secret}; check whether another webhook removes it"
        )
    return good(check, f"{image} becomes {became}, with {grant.pull_secret} (a dry run)")


def labels_for(selector: LabelSelector) -> Mapping[str, str] | None:
    """Labels that `selector` selects; None if none are easy to find."""
    labels = dict(selector.match_labels)
    for requirement in selector.match_expressions:
        if requirement.operator in (Operator.IN, Operator.EXISTS):
            labels.setdefault(requirement.key, requirement.values[0] if requirement.values else "doctor")
    return labels if selector.matches(labels) else None


def _pod(image: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A pod that the strictest Pod Security level and a resource quota allow."""
    few = {"cpu": "1m", "memory": "8Mi"}
    container = {
        "name": "trial",
        "image": image,
        "resources": {"requests": few, "limits": few},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "akua-doctor-", "labels": dict(labels)},
        "spec": {
            "containers": [container],
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        },
    }

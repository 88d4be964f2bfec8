"""Pods that were not rewritten although a grant covers their images: they predate the grant, or the webhook was down."""

from __future__ import annotations

from control.doctor.cluster.state import State
from control.doctor.cluster.view import POD, ClusterView
from control.doctor.finding import Check, good, unseen, warning
from registry_access.model.listing import and_more
from webhook.admission.grant_index import GrantIndex
from webhook.admission.rewriting import ImageOutcome, rewrite_pod

_NAMESPACES_LOOKED_AT = 50
_NAMED = 5
_ENDED = ("Succeeded", "Failed")


async def slipped_check(view: ClusterView, state: State) -> Check:
    """Checks the first few namespaces with grants."""
    namespaces = sorted({grant.metadata.namespace for grant in state.index.all_grants()})[:_NAMESPACES_LOOKED_AT]
    if not namespaces:
        if state.unseen_grants:
            return unseen("pods", state.unseen_grants, "pull grants cannot be looked at")
        return good("pods", "no namespace has a pull grant yet")
    slipped, looked_at = [], 0
    for namespace in namespaces:
        found = await view.list(POD, namespace)
        if found.problem:
            return unseen("pods", found.problem, f"those of {namespace} cannot be looked at")
        grants = GrantIndex(state.index.grants(namespace))
        for pod in found.items:
            if (pod.get("status") or {}).get("phase") in _ENDED:
                continue
            looked_at += 1
            again = rewrite_pod(pod, {}, "CREATE", "", grants)
            if ImageOutcome.REWRITTEN in again.outcomes:
                slipped.append(f"{namespace}/{pod['metadata']['name']}")
    if slipped:
        problem = f"{and_more(slipped, _NAMED)} run images under their upstream names although a grant covers them"
        why = "they were created before the grant, or while the webhook was down"
        return warning("pods", f"{problem}: {why}; delete them so that their controllers recreate them (docs/admission.md)")
    return good("pods", f"all {looked_at} in {len(namespaces)} namespaces passed through the webhook")

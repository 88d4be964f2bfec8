"""Other mutating webhooks: those that run after ours can undo its changes to a pod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from control.doctor.cluster.view import ClusterView
from control.doctor.finding import Check, good, unseen, warning
from registry_access.model.listing import and_more
from registry_access.state.kubernetes.client.raw_objects import MUTATING_WEBHOOKS
from webhook.certificates.publication import WEBHOOK_CONFIGURATIONS

EARLY, LATE = WEBHOOK_CONFIGURATIONS
_CHECK = "webhook order"
_NAMED = 5


async def webhook_order_check(view: ClusterView) -> Check:
    """The API server calls configurations in order of name, and each once more if a later one changed the pod."""
    found = await view.list(MUTATING_WEBHOOKS)
    if found.problem:
        return unseen(_CHECK, found.problem, "other mutating webhooks cannot be looked at")
    configurations = {str((item.get("metadata") or {}).get("name")): item for item in found.items}
    if EARLY not in configurations:
        return unseen(_CHECK, f"MutatingWebhookConfiguration {EARLY} does not exist", "the order cannot be checked")
    others = sorted(
        name for name, item in configurations.items() if name not in WEBHOOK_CONFIGURATIONS and _asks_about_pods(item)
    )
    if LATE not in configurations:
        problem = f"MutatingWebhookConfiguration {LATE}, which runs last, does not exist: {_some(_after(EARLY, others))} can undo"
        return warning(_CHECK, f"{problem} the changes of {EARLY}; run `kubectl apply -k` with the overlay again")
    if _bundles(configurations[LATE]) != _bundles(configurations[EARLY]):
        return warning(
            _CHECK,
            f"the caBundle of {LATE} differs from that of {EARLY}: its calls fail, and other webhooks can undo our changes",
        )
    if after := _after(LATE, others):
        problem = f"{_some(after)} run after {LATE} and can undo its changes or remove the pull Secret"
        return warning(_CHECK, f"{problem}; give them names that sort before it (docs/admission.md)")
    return good(_CHECK, f"{LATE} runs last; {len(others)} other mutating webhooks of pods run before it")


def _after(name: str, others: Sequence[str]) -> list[str]:
    return [other for other in others if other > name]


def _some(names: Sequence[str]) -> str:
    return and_more(names, _NAMED) or "a later webhook"


def _bundles(configuration: Mapping[str, Any]) -> set[str]:
    return {str((webhook.get("clientConfig") or {}).get("caBundle") or "") for webhook in configuration.get("webhooks") or ()}


def _asks_about_pods(configuration: Mapping[str, Any]) -> bool:
    rules = (rule for webhook in configuration.get("webhooks") or () for rule in webhook.get("rules") or ())
    return any(_names(rule, "apiGroups", "") and _names(rule, "resources", "pods", "*/*") for rule in rules)


def _names(rule: Mapping[str, Any], field: str, *names: str) -> bool:
    return any(value in ("*", *names) for value in rule.get(field) or ())

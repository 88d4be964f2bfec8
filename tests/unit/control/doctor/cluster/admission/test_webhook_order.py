"""Which other mutating webhooks can undo ours."""

from __future__ import annotations

from typing import Any

import pytest

from control.doctor.cluster.admission.webhook_order import webhook_order_check
from control.doctor.cluster.view import ClusterView, Listing
from registry_access.state.kubernetes.client.raw_objects import RawKind


class View(ClusterView):
    def __init__(self, found: Listing) -> None:
        self.found = found

    async def list(self, kind: RawKind, namespace: str = "", *, labels: str = "", fields: str = "", limit: int = 0) -> Listing:
        assert (kind.kind, namespace) == ("MutatingWebhookConfiguration", "")
        return self.found


def configuration(name: str, resources: str = "pods", group: str = "", bundle: str = "CA") -> dict[str, Any]:
    webhook = {"rules": [{"apiGroups": [group], "resources": [resources]}], "clientConfig": {"caBundle": bundle}}
    return {"metadata": {"name": name}, "webhooks": [webhook]}


OURS = (configuration("akua-webhook"), configuration("zz-akua-webhook"))


@pytest.mark.parametrize(
    ("found", "finding", "says"),
    [
        (OURS, "good", "0 other mutating webhooks"),
        ((*OURS, configuration("istio-sidecar-injector")), "good", "1 other mutating webhooks"),
        ((*OURS, configuration("zzz", "deployments", "apps")), "good", "0 other"),
        ((*OURS, configuration("zzz"), configuration("zzzz", "*", "*")), "warning", "zzz, zzzz run after zz-akua-webhook"),
        ((*OURS, *(configuration(f"zzz{number}") for number in range(7))), "warning", "and 2 more run after"),
        (
            (OURS[0], configuration("istio")),
            "warning",
            "MutatingWebhookConfiguration zz-akua-webhook, which runs last, does not exist: istio",
        ),
        ((OURS[0],), "warning", "a later webhook can undo"),
        (
            (OURS[0], configuration("zz-akua-webhook", bundle="")),
            "warning",
            "caBundle of zz-akua-webhook differs from that of akua-webhook",
        ),
        ((), "warning", "MutatingWebhookConfiguration akua-webhook does not exist"),
    ],
)
async def test_the_order(found: tuple[dict[str, Any], ...], finding: str, says: str) -> None:
    check = await webhook_order_check(View(Listing(found)))
    assert (str(check.finding), says in check.detail) == (finding, True), check.detail


async def test_what_may_not_be_listed() -> None:
    check = await webhook_order_check(View(Listing(problem="not allowed: list")))
    assert str(check.finding) == "unseen"

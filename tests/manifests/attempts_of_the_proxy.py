"""Each right of the ServiceAccount akua-proxy, used well and ill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.stolen_tokens import SYSTEM, TOKEN, Attempt, condition, core, custom, event, grant, group, secret

WEBHOOK, PROXY = "akua-webhook", "akua-proxy"
EVENTS = "events.k8s.io/v1"


def of_the_proxy() -> list[Attempt]:
    keys, shop = core(SYSTEM, "secrets", "akua-access-token-keys"), custom("acme", "installs", "shop", "status")
    own = group(EVENTS, "acme", "events")

    def attempt(what: str, method: str, path: str, body: Mapping[str, Any] | None = None, refused: str = "") -> Attempt:
        return Attempt(PROXY, what, method, path, body, refused)

    return [
        attempt("reads its keys", "GET", keys),
        attempt("rotates its keys", "PATCH", keys, {"data": {"a.pem": "cGVt"}}),
        attempt("asks for a rotation", "PATCH", keys, {"metadata": {"annotations": {"registry.akua.dev/rotate-requested": "1"}}}),
        attempt("another type", "APPLY", keys, secret(SYSTEM, "akua-access-token-keys", TOKEN), "field is immutable"),
        attempt("freezes its keys", "PATCH", keys, {"immutable": True}, "changes no"),
        attempt("puts anything beside its keys", "PATCH", keys, {"data": {"loot": "eA=="}}, "holds times.json"),
        attempt("deletes its keys", "DELETE", keys, None, "forbidden"),
        attempt("deletes all Secrets", "DELETE", core(SYSTEM, "secrets"), None, "forbidden"),
        attempt("another Secret", "APPLY", core(SYSTEM, "secrets", "mine"), secret(SYSTEM, "mine"), "forbidden"),
        attempt("posts its keys", "POST", core(SYSTEM, "secrets"), secret(SYSTEM, "akua-access-token-keys", TOKEN), "forbidden"),
        attempt("says what was pulled", "PATCH", shop, {"status": {"lastPullTime": "2026-01-01T00:00:00Z", "deniedPulls": 6}}),
        attempt("hides refusals", "PATCH", shop, {"status": {"deniedPulls": 0}}, "takes no refused pull back"),
        attempt("sends the sync to clear a cluster", "PATCH", shop, {"status": {"clusters": ["ghcr"]}}, "lastPullTime"),
        attempt("removes conditions", "PATCH", shop, {"status": {"conditions": []}}, "lastPullTime"),
        attempt("forges a condition", "PATCH", shop, {"status": {"conditions": [condition("Ready", "False")]}}, "lastPullTime"),
        attempt(
            "says whether it can be pulled",
            "PATCH",
            shop,
            {"status": {"conditions": [condition("Ready"), condition("Pullable", "False")]}},
        ),
        attempt("forges the token's id", "PATCH", shop, {"status": {"tokenID": "tok_2"}}, "lastPullTime"),
        attempt("restores an install", "PATCH", custom("acme", "installs", "shop"), {"spec": {"revoked": False}}, "forbidden"),
        attempt(
            "says when a credential was used",
            "PATCH",
            custom("acme", "registrycredentials", "ghcr", "status"),
            {"status": {"lastUsedTime": "2026-01-01T00:00:00Z"}},
        ),
        attempt(
            "another registry",
            "PATCH",
            custom("acme", "registrycredentials", "ghcr"),
            {"spec": {"realmHosts": ["evil.example"]}},
            "forbidden",
        ),
        attempt("the status takes a finalizer along", "PATCH", shop, {"metadata": {"finalizers": ["mallory.example/keep"]}}),
        attempt("an Event of its own", "POST", own, event("acme", "new", PROXY)),
        attempt(
            "a series of its own",
            "PATCH",
            f"{own}/by-proxy",
            {"series": {"count": 3, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}},
        ),
        attempt("an Event as the kubelet", "POST", own, event("acme", "new", "kubelet"), "of their own only"),
        attempt("an Event as the webhook", "POST", own, event("acme", "new", WEBHOOK), "of their own only"),
        attempt("an Event about a pod", "POST", own, event("acme", "new", PROXY, about="v1"), "registry.akua.dev"),
        attempt("a core Event", "POST", core("acme", "events"), event("acme", "new", PROXY), "forbidden"),
        attempt("changes the kubelet's Event", "PATCH", f"{own}/by-kubelet", {"series": None}, "of their own only"),
        attempt("deletes an Event", "DELETE", f"{own}/by-proxy", None, "forbidden"),
        attempt("a pull grant", "APPLY", custom("shop-prod", "pullgrants", "x"), grant("shop-prod", "x"), "forbidden"),
    ]

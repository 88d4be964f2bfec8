"""The same ends by other kinds of patches, by server-side apply, and by fields that look harmless."""

from __future__ import annotations

from typing import Any

from tests.manifests.attempts_on_metadata import BOTH, DANGLING, PROXY, WEBHOOK, core_namespace
from tests.support.stolen_tokens import KEYS, REGISTRATION, SYSTEM, TOKEN, Attempt, binding_path, core, custom, resource, secret


def other_ways() -> list[Attempt]:
    keys, pull = core(SYSTEM, "secrets", "akua-access-token-keys"), core("shop-prod", "secrets", "akua-pull-shop")
    owner, shop = {"ownerReferences": DANGLING}, custom("acme", "installs", "shop")
    published = core(SYSTEM, "configmaps", "akua-ca")

    def add(path: str, value: Any) -> list[dict[str, Any]]:
        return [{"op": "add", "path": path, "value": value}]

    service = {"name": "mine", "namespace": "mallory", "path": "/", "port": 443}
    refused: list[tuple[str, str, str, str, Any]] = [
        (PROXY, "an owner by JSON patch", "JSON-PATCH", keys, add("/metadata/ownerReferences", DANGLING)),
        (PROXY, "an owner by strategic merge", "STRATEGIC", keys, {"metadata": owner}),
        (PROXY, "an owner by apply", "APPLY", keys, secret(SYSTEM, "akua-access-token-keys", KEYS, **owner)),
        (PROXY, "another type by JSON patch", "JSON-PATCH", keys, add("/type", TOKEN)),
        (PROXY, "all of it by JSON patch", "JSON-PATCH", keys, add("", secret(SYSTEM, "akua-access-token-keys", TOKEN))),
        (
            PROXY,
            "an account's annotation",
            "PATCH",
            keys,
            {"metadata": {"annotations": {"kubernetes.io/service-account.name": WEBHOOK}}},
        ),
        (PROXY, "keys in plain text", "PATCH", keys, {"stringData": {"loot": "x"}}),
        (WEBHOOK, "a finalizer by strategic merge", "STRATEGIC", pull, {"metadata": {"finalizers": ["mallory.example/keep"]}}),
        (WEBHOOK, "a label by JSON patch", "JSON-PATCH", pull, add("/metadata/labels/velero.io~1exclude-from-backup", "true")),
        (WEBHOOK, "its mark by JSON patch", "JSON-PATCH", pull, [{"op": "remove", "path": "/metadata/labels"}]),
        (
            WEBHOOK,
            "an account's annotation",
            "PATCH",
            pull,
            {"metadata": {"annotations": {"kubernetes.io/service-account.name": PROXY}}},
        ),
        (WEBHOOK, "a service of the thief's", "JSON-PATCH", REGISTRATION, add("/webhooks/0/clientConfig/service", service)),
        (WEBHOOK, "one rule more", "JSON-PATCH", REGISTRATION, add("/webhooks/0/rules/0/resources/-", "secrets")),
        (WEBHOOK, "another name of the webhook", "JSON-PATCH", REGISTRATION, add("/webhooks/0/name", "mine.registry.akua.dev")),
        (WEBHOOK, "stops rewriting by a condition", "JSON-PATCH", REGISTRATION, add("/webhooks/0/matchConditions", [])),
        (WEBHOOK, "fails every pod", "JSON-PATCH", REGISTRATION, add("/webhooks/0/failurePolicy", "Fail")),
        (WEBHOOK, "a slow webhook", "JSON-PATCH", REGISTRATION, add("/webhooks/0/timeoutSeconds", 30)),
        (WEBHOOK, "its own pods too", "JSON-PATCH", REGISTRATION, add("/webhooks/0/objectSelector", {})),
        (WEBHOOK, "the spec by JSON patch", "JSON-PATCH", shop, add("/spec/repositories", ["docker.io/*"])),
        (WEBHOOK, "the spec by apply", "APPLY", shop, resource("Install", "acme", "shop", {"repositories": ["docker.io/*"]})),
        (WEBHOOK, "binary in the CA", "PATCH", published, {"binaryData": {"x": "eA=="}}),
        (
            WEBHOOK,
            "a grant's host with a dot",
            "PATCH",
            custom("shop-prod", "pullgrants", "shop"),
            {"spec": {"host": "oci.akua.dev."}},
        ),
        (
            WEBHOOK,
            "a grant's host by JSON patch",
            "JSON-PATCH",
            custom("shop-prod", "pullgrants", "shop"),
            add("/spec/host", "evil.example"),
        ),
        (WEBHOOK, "the binding's role by JSON patch", "JSON-PATCH", binding_path("acme"), add("/roleRef/name", "cluster-admin")),
        (
            WEBHOOK,
            "one subject more",
            "JSON-PATCH",
            binding_path("acme"),
            add("/subjects/-", {"kind": "ServiceAccount", "name": "default", "namespace": "bystander"}),
        ),
    ]
    refused += [
        (
            account,
            "our namespace by JSON patch",
            "JSON-PATCH",
            core_namespace(),
            add("/metadata/labels", {"registry.akua.dev/workspace": "true"}),
        )
        for account in BOTH
    ]
    refused += [
        (
            account,
            "our namespace by strategic merge",
            "STRATEGIC",
            core_namespace(),
            {"metadata": {"labels": {"$patch": "delete"}}},
        )
        for account in BOTH
    ]
    refused += [
        (
            account,
            "a heartbeat that is no time",
            "PATCH",
            core_namespace(),
            {"metadata": {"annotations": {"heartbeat.registry.akua.dev/x": "y" * 1000}}},
        )
        for account in BOTH
    ]
    refused += [
        (account, "the namespace's status", "PATCH", f"{core_namespace()}/status", {"status": {"phase": "Terminating"}})
        for account in BOTH
    ]
    by_the_server = {
        "another type by JSON patch": "field is immutable",
        "all of it by JSON patch": "rejected our request",
        "a grant's host with a dot": "spec.host in body should match",
        "the binding's role by JSON patch": "attempting to grant RBAC permissions not currently held",
        "the namespace's status": 'cannot patch resource "namespaces/status"',
    }
    return [
        Attempt(account, what, method, path, body, by_the_server.get(what, "denied request"))
        for account, what, method, path, body in refused
    ]

"""Each right of the ServiceAccount akua-webhook, used well and ill."""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping
from typing import Any

from registry_access.runtime.tls.certificate_authority import CertificateAuthority
from tests.manifests.attempts_on_metadata import DANGLING
from tests.support.kustomize import built, named
from tests.support.stolen_tokens import (
    CA,
    KEYS,
    OURS,
    PULL,
    REGISTRATION,
    SYSTEM,
    TOKEN,
    Attempt,
    binding,
    binding_path,
    core,
    custom,
    event,
    grant,
    group,
    lease,
    resource,
    secret,
)

WEBHOOK, PROXY = "akua-webhook", "akua-proxy"
EVENTS, LEASES = "events.k8s.io/v1", "coordination.k8s.io/v1"


def of_the_install_sync() -> list[Attempt]:
    shop, remote, finalizer = (
        custom("acme", "installs", "shop"),
        custom("acme", "installs", "remote"),
        "registry.akua.dev/remote-cleanup",
    )
    pull, own = core("shop-prod", "secrets", "akua-pull-shop"), group(EVENTS, "acme", "events")
    ca, leases = core(SYSTEM, "configmaps", "akua-ca"), group(LEASES, SYSTEM, "leases")
    person = core(SYSTEM, "secrets", "akua-proxy-tls")

    def attempt(what: str, method: str, path: str, body: Mapping[str, Any] | None = None, refused: str = "") -> Attempt:
        return Attempt(WEBHOOK, what, method, path, body, refused)

    def applied(manifest: dict[str, Any], plural: str = "secrets") -> tuple[str, str, dict[str, Any]]:
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        return "APPLY", (core if plural == "secrets" else custom)(namespace, plural, name), manifest

    return [
        # Secrets: all are read, none but pull Secrets and its own is written.
        attempt("reads any Secret", "GET", core("kube-system", "secrets", "theirs")),
        attempt("lists all Secrets", "GET", "/api/v1/secrets"),
        attempt("writes a pull Secret", *applied(secret("shop-prod", "akua-pull-new", PULL, labels=OURS))),
        attempt("deletes a pull Secret", "DELETE", pull),
        attempt("changes a Secret of others", "PATCH", core("bystander", "secrets", "theirs"), {"data": {}}, "pull Secrets only"),
        attempt("deletes a Secret of others", "DELETE", core("bystander", "secrets", "theirs"), None, "pull Secrets only"),
        attempt(
            "takes a Secret over",
            "PATCH",
            core("shop-prod", "secrets", "akua-pull-theirs"),
            {"metadata": {"labels": OURS}},
            "before and after",
        ),
        attempt("a pull Secret that is a token", *applied(secret("shop-prod", "akua-pull-new", TOKEN, labels=OURS)), "of type"),
        attempt("a generated name", "POST", core("shop-prod", "secrets"), _generated(), "named akua-pull-*"),
        attempt("a pull Secret with more in it", "PATCH", pull, {"data": {"loot": "eA=="}}, "holds one entry"),
        attempt("freezes a pull Secret", "PATCH", pull, {"immutable": True}, "immutable"),
        attempt("a pull Secret in kube-system", *applied(secret("kube-system", "akua-pull-x", PULL, labels=OURS)), "reserved"),
        attempt("a token in akua-system", *applied(secret(SYSTEM, "akua-heartbeat", TOKEN)), "no ServiceAccount tokens"),
        attempt(
            "a bootstrap token",
            *applied(secret("kube-system", "bootstrap-token-abcdef", "bootstrap.kubernetes.io/token", labels=OURS)),
            "pull Secrets only",
        ),
        attempt(
            "rotates the install-token keys",
            "PATCH",
            core(SYSTEM, "secrets", "akua-install-token-keys"),
            {"data": {"a.pem": "cGVt"}},
        ),
        attempt("publishes public keys", *applied(secret(SYSTEM, "akua-install-token-jwks", KEYS))),
        attempt("writes the CA", "PATCH", core(SYSTEM, "secrets", "akua-ca"), {"data": {"a.crt": "cGVt"}}),
        attempt(
            "makes a Secret of CAs again",
            *applied(secret(SYSTEM, "akua-ca", CA, labels={"app.kubernetes.io/managed-by": "akua-certificates"})),
        ),
        attempt(
            "burns the install-token keys",
            "DELETE",
            core(SYSTEM, "secrets", "akua-install-token-keys"),
            None,
            "deletes no Secret",
        ),
        attempt("deletes all Secrets", "DELETE", core(SYSTEM, "secrets"), None, "forbidden"),
        attempt(
            "the proxy's keys",
            "PATCH",
            core(SYSTEM, "secrets", "akua-access-token-keys"),
            {"data": {}},
            "its own keys and certificates",
        ),
        attempt(
            "the database's address",
            "PATCH",
            core(SYSTEM, "secrets", "akua-audit"),
            {"data": {"dsn": "eA=="}},
            "its own keys and certificates",
        ),
        attempt("a person's certificate", "PATCH", person, {"data": {"tls.crt": "eA=="}}, "no certificate of others"),
        attempt(
            "takes a person's certificate over",
            "PATCH",
            person,
            {"metadata": {"labels": {"app.kubernetes.io/managed-by": "akua-certificates"}}},
            "no certificate of others",
        ),
        attempt(
            "gives its certificate to a person",
            "PATCH",
            core(SYSTEM, "secrets", "akua-webhook-tls"),
            {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
        ),
        attempt(
            "relabels its certificate",
            "PATCH",
            core(SYSTEM, "secrets", "akua-webhook-tls"),
            {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}},
            "relabels no Secret",
        ),
        # Pull grants: to our host, of its own.
        attempt("writes a pull grant", *applied(grant("shop-prod", "new"), "pullgrants")),
        attempt("deletes a pull grant", "DELETE", custom("shop-prod", "pullgrants", "shop")),
        attempt("reads a pull grant", "GET", custom("shop-prod", "pullgrants", "shop")),
        attempt(
            "sends pods elsewhere", *applied(grant("shop-prod", "new", host="evil.example"), "pullgrants"), "to oci.akua.dev only"
        ),
        attempt(
            "redirects a grant",
            "PATCH",
            custom("shop-prod", "pullgrants", "shop"),
            {"spec": {"host": "evil.example"}},
            "to oci.akua.dev only",
        ),
        attempt(
            "attaches a Secret of others",
            "PATCH",
            custom("shop-prod", "pullgrants", "shop"),
            {"spec": {"pullSecret": "theirs"}},
            "its own pull Secret",
        ),
        attempt("a grant in kube-system", *applied(grant("kube-system", "new"), "pullgrants"), "reserved"),
        attempt(
            "takes a grant over",
            "PATCH",
            custom("bystander", "pullgrants", "shop"),
            {"metadata": {"labels": OURS}},
            "of its own only",
        ),
        attempt("deletes a grant of others", "DELETE", custom("bystander", "pullgrants", "shop"), None, "of its own only"),
        # Installs: the finalizer of those that go elsewhere, and their status.
        attempt("marks an install of another cluster", "PATCH", remote, {"metadata": {"finalizers": [finalizer]}}),
        attempt("holds any install up", "PATCH", shop, {"metadata": {"finalizers": [finalizer]}}, "another cluster only"),
        attempt(
            "restores a revoked install",
            "PATCH",
            shop,
            {"spec": {"revoked": False, "repositories": ["docker.io/*"]}},
            "nothing else",
        ),
        attempt(
            "an install of its own",
            "APPLY",
            custom("acme", "installs", "mine"),
            resource("Install", "acme", "mine", {"repositories": ["docker.io/*"]}),
            "forbidden",
        ),
        attempt("reports on an install", "PATCH", f"{shop}/status", {"status": {"tokenID": "tok_2"}}),
        attempt(
            "hides refusals", "PATCH", f"{shop}/status", {"status": {"deniedPulls": 0}}, "leaves lastPullTime and deniedPulls"
        ),
        # RoleBindings: the proxy, into workspaces.
        attempt("lets the proxy into a workspace", "APPLY", binding_path("acme"), binding("acme")),
        attempt("withdraws it", "DELETE", binding_path("acme")),
        attempt(
            "looks where the proxy is let in",
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/rolebindings?fieldSelector=metadata.name%3Dakua-proxy",
        ),
        attempt("lets the proxy in anywhere", "APPLY", binding_path("shop-prod"), binding("shop-prod"), "into workspaces only"),
        attempt(
            "lets itself in",
            "PATCH",
            binding_path("acme"),
            {"subjects": [{"kind": "ServiceAccount", "name": WEBHOOK, "namespace": SYSTEM}]},
            "nobody into anything else",
        ),
        attempt(
            "a user of that name",
            "PATCH",
            binding_path("acme"),
            {"subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": PROXY}]},
            "nobody into anything else",
        ),
        attempt(
            "binds cluster-admin", "APPLY", binding_path("shop-prod"), binding("shop-prod", role="cluster-admin"), "forbidden"
        ),
        attempt("replaces a binding of others", "PATCH", binding_path("bystander"), binding("bystander"), "of its own only"),
        attempt("deletes a binding of others", "DELETE", binding_path("bystander"), None, "of its own only"),
        attempt("deletes the proxy's own binding", "DELETE", binding_path(SYSTEM), None, "of its own only"),
        attempt(
            "a ClusterRoleBinding",
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            _cluster_admin(),
            "forbidden",
        ),
        attempt(
            "widens the ClusterRole",
            "PATCH",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/akua-workspace-secrets",
            {"rules": []},
            "forbidden",
        ),
        # The registration: caBundle.
        attempt("reads the registration", "GET", REGISTRATION),
        attempt("writes caBundle", "PATCH", REGISTRATION, registration(client={"caBundle": _certificate()})),
        attempt(
            "has every request sent to its URL",
            "PATCH",
            REGISTRATION,
            registration(
                {
                    "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"]}],
                    "namespaceSelector": {},
                    "objectSelector": {},
                    "matchConditions": [],
                },
                {"service": None, "url": "https://evil.example/"},
            ),
            "nothing else of a webhook",
        ),
        attempt("a second webhook", "PATCH", REGISTRATION, _two_webhooks(), "nothing else of a webhook"),
        attempt("no webhook", "PATCH", REGISTRATION, {"webhooks": []}, "nothing else of a webhook"),
        attempt(
            "another registration",
            "APPLY",
            f"{REGISTRATION}-2",
            {**_registration_again(), "metadata": {"name": f"{WEBHOOK}-2"}},
            "forbidden",
        ),
        attempt("deletes the registration", "DELETE", REGISTRATION, None, "forbidden"),
        # Its Lease, the published CA, the Service, Events.
        attempt("takes the Lease", "PUT", f"{leases}/akua-install-sync", lease()),
        attempt("reads the Lease", "GET", f"{leases}/akua-install-sync"),
        attempt("reads the Service", "GET", core(SYSTEM, "services", PROXY)),
        attempt("another Lease", "POST", leases, lease("mine"), "its Lease akua-install-sync"),
        attempt(
            "a Lease of a generated name",
            "POST",
            leases,
            {**lease(), "metadata": {"generateName": "mine-"}},
            "its Lease akua-install-sync",
        ),
        attempt(
            "a Lease with an owner", "PUT", f"{leases}/akua-install-sync", lease(ownerReferences=DANGLING), "no ownerReferences"
        ),
        attempt("deletes the Lease", "DELETE", f"{leases}/akua-install-sync", None, "forbidden"),
        attempt("publishes a CA", "PATCH", ca, {"data": {"ca.crt": "PEM 2"}}),
        attempt(
            "makes the published CA",
            "APPLY",
            ca,
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "akua-ca"}, "data": {"ca.crt": "PEM"}},
        ),
        attempt("publishes more", "PATCH", ca, {"data": {"hosts.toml": "x"}}, "holds one entry"),
        attempt("freezes the CA", "PATCH", ca, {"immutable": True}, "stays mutable"),
        attempt(
            "the settings",
            "PATCH",
            core(SYSTEM, "configmaps", "akua-settings"),
            {"data": {"AKUA_HOST": "evil.example"}},
            "forbidden",
        ),
        attempt("an Event of its own", "POST", own, event("acme", "new", WEBHOOK)),
        attempt(
            "a series of its own",
            "PATCH",
            f"{own}/by-webhook",
            {"series": {"count": 3, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}},
        ),
        attempt("an Event as the proxy", "POST", own, event("acme", "new", PROXY), "of their own only"),
        attempt("a credential", "GET", custom("acme", "registrycredentials", "ghcr"), None, "forbidden"),
    ]


def _generated() -> dict[str, Any]:
    manifest = secret("shop-prod", "", PULL, labels=OURS)
    del manifest["metadata"]["name"]
    manifest["metadata"]["generateName"] = "bootstrap-token-"
    return manifest


def _cluster_admin() -> dict[str, Any]:
    account = {"kind": "ServiceAccount", "name": WEBHOOK, "namespace": SYSTEM}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "mine"}}
    return {**kind, "roleRef": role, "subjects": [account]}


def _registration_again() -> dict[str, Any]:
    return copy.deepcopy(named(built("base"), "MutatingWebhookConfiguration", WEBHOOK))


def _two_webhooks() -> dict[str, Any]:
    (webhook,) = registration()["webhooks"]
    return {"webhooks": [webhook, {**webhook, "name": "mine.registry.akua.dev"}]}


def _certificate() -> str:
    return base64.b64encode(CertificateAuthority.new("Mallory", 1).pair.certificate).decode()


def registration(change: Mapping[str, Any] | None = None, client: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A merge patch of the registration: lists are replaced whole, so its webhook is given whole."""
    webhook = copy.deepcopy(named(built("base"), "MutatingWebhookConfiguration", WEBHOOK)["webhooks"][0])
    webhook.update(change or {})
    webhook["clientConfig"].update(client or {})
    return {"webhooks": [{name: value for name, value in webhook.items() if value is not None}]}

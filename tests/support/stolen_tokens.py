"""A world to attack, and attempts made in it with the tokens of our ServiceAccounts."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.api_requests import Answer, ApiRequests

SYSTEM = "akua-system"
API = "/apis/registry.akua.dev/v1alpha1"
REGISTRATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/akua-webhook"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
NAMESPACE_OF = {
    "akua-webhook": SYSTEM,
    "akua-proxy": SYSTEM,
    "akua-postgresql": SYSTEM,
    "akua-node-trust": "akua-node-trust",
}
KEYS, CA, TOKEN = (
    "registry.akua.dev/signing-keys",
    "registry.akua.dev/certificate-authority",
    "kubernetes.io/service-account-token",
)
PULL = "kubernetes.io/dockerconfigjson"
OURS = {"app.kubernetes.io/managed-by": "akua-install-sync"}
_PULL_DATA = {".dockerconfigjson": base64.b64encode(b'{"auths":{}}').decode()}


def token_of(api: ApiRequests, account: str) -> str:
    """A real token, by the TokenRequest API, as a pod of the account has it."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = api("POST", f"/api/v1/namespaces/{NAMESPACE_OF[account]}/serviceaccounts/{account}/token", request)
    assert answer.allowed, answer.message
    return str(answer.body["status"]["token"])


_VERBS = {
    "POST": {"create"},
    "PUT": {"update"},
    "APPLY": {"create", "patch"},
    "JSON-PATCH": {"patch"},
    "STRATEGIC": {"patch"},
}


@dataclass(frozen=True)
class Attempt:
    """One request with a stolen token. `refused` is in the server's answer; "" for what the account is there to do."""

    account: str
    what: str
    method: str
    path: str
    body: Mapping[str, Any] | list[dict[str, Any]] | None = field(default=None, repr=False)
    refused: str = ""

    def __str__(self) -> str:
        return f"{self.account}: {self.what}"

    def made(self, api: ApiRequests, token: str) -> Answer:
        body = self.body
        if self.method == "PUT" and isinstance(body, Mapping):
            metadata = {**body["metadata"], "resourceVersion": api("GET", self.path).body["metadata"].get("resourceVersion", "1")}
            body = {**body, "metadata": metadata}
        return api(self.method, self.path, body, token=token, dry_run=self.method != "GET")

    @property
    def rights(self) -> set[tuple[str, str, str]]:
        """The rights that the request needs, as account, resource and verb: ("akua-proxy", "events.events.k8s.io", "create")."""
        parts = self.path.partition("?")[0].strip("/").split("/")
        api_group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            rest = rest[2:]
        named = rest[0] if len(rest) < 3 else f"{rest[0]}.{api_group}/{rest[2]}"
        full = named if "/" in named or not api_group else f"{named}.{api_group}"
        verbs = _VERBS.get(self.method, {self.method.lower()})
        return {(self.account, full, verb) for verb in verbs}


def core(namespace: str, plural: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def custom(namespace: str, plural: str, name: str, subresource: str = "") -> str:
    return f"{API}/namespaces/{namespace}/{plural}/{name}" + (f"/{subresource}" if subresource else "")


def group(api: str, namespace: str, plural: str, name: str = "") -> str:
    return f"/apis/{api}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def secret(namespace: str, name: str, kind: str = "Opaque", **metadata: Any) -> dict[str, Any]:
    data = {PULL: _PULL_DATA, "kubernetes.io/tls": {"tls.crt": "", "tls.key": ""}}.get(kind, {"times.json": "e30="})
    annotations = {"kubernetes.io/service-account.name": "akua-webhook"} if kind == TOKEN else {}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name, "annotations": annotations, **metadata},
        "type": kind,
        "data": {} if kind == TOKEN else data,
    }


def resource(kind: str, namespace: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "registry.akua.dev/v1alpha1",
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name, **metadata},
        "spec": spec,
    }


def condition(kind: str, status: str = "True") -> dict[str, str]:
    moment = "2026-01-01T00:00:00Z"
    return {"type": kind, "status": status, "reason": "Because", "message": "", "lastTransitionTime": moment}


def grant(namespace: str, name: str, host: str = "oci.akua.dev", **metadata: Any) -> dict[str, Any]:
    spec = {"host": host, "images": ["ghcr.io/acme/app"], "pullSecret": f"akua-pull-{name}"}
    return resource("PullGrant", namespace, name, spec, **{"labels": OURS, **metadata})


def event(namespace: str, name: str, controller: str, about: str = "registry.akua.dev/v1alpha1") -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": namespace, "name": name},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Warning",
        "reason": "PullsRefused",
        "action": "Pull",
        "note": "refused",
        "reportingController": controller,
        "reportingInstance": "akua-1",
        "regarding": {"apiVersion": about, "kind": "Install", "namespace": namespace, "name": "shop", "uid": "1"},
    }


def binding(namespace: str, label: str = "akua-workspace-access", role: str = "akua-workspace-secrets") -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"namespace": namespace, "name": "akua-proxy", "labels": {"app.kubernetes.io/managed-by": label}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "akua-proxy", "namespace": SYSTEM}],
    }


def binding_path(namespace: str) -> str:
    return group("rbac.authorization.k8s.io/v1", namespace, "rolebindings", "akua-proxy")


HEARTBEATS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "registrycredentials": ("RegistryCredential", {"registry": "heartbeat.invalid", "type": "Anonymous", "disabled": True}),
    "products": ("Product", {"repositories": ["heartbeat.invalid/none"]}),
    "installs": ("Install", {"repositories": ["heartbeat.invalid/none"], "revoked": True}),
    "pullgrants": ("PullGrant", {"host": "heartbeat.invalid", "images": ["heartbeat.invalid/none"], "pullSecret": "none"}),
}


def heartbeat(plural: str, **metadata: Any) -> dict[str, Any]:
    kind, spec = HEARTBEATS[plural]
    return resource(kind, SYSTEM, "akua-heartbeat", spec, **{"labels": {"registry.akua.dev/heartbeat": "true"}, **metadata})


def lease(name: str = "akua-install-sync", **metadata: Any) -> dict[str, Any]:
    spec = {"holderIdentity": "mallory", "leaseDurationSeconds": 15}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }


WORKSPACE = {"metadata": {"labels": {"registry.akua.dev/workspace": "true"}}}
NO_WORKSPACE = {"metadata": {"labels": {"registry.akua.dev/workspace": None}}}


def make_world(api: ApiRequests, registration: Mapping[str, Any]) -> list[str]:
    """A workspace acme, its target shop-prod, a bystander, and everything that our parts make. Returns the objects' paths."""
    for name in ("acme", "shop-prod", "bystander"):
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, f"/api/v1/namespaces/{name}")
    api("PATCH", "/api/v1/namespaces/acme", WORKSPACE)
    made: list[str] = []

    def add(manifest: Mapping[str, Any], path: str) -> None:
        api.apply(manifest, path)
        made.append(path)

    add(registration, REGISTRATION)
    install = {"repositories": ["ghcr.io/acme/app"], "targets": [{"namespace": "shop-prod"}]}
    remote = {**install, "cluster": {"kubeconfigSecret": "other"}}
    for name, spec in (("shop", install), ("remote", remote)):
        add(resource("Install", "acme", name, spec), custom("acme", "installs", name))
        api(
            "PATCH",
            custom("acme", "installs", name, "status"),
            {"status": {"deniedPulls": 5, "tokenID": "tok_1", "conditions": [condition("Ready")]}},
        )
    credential = {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr"}
    add(resource("RegistryCredential", "acme", "ghcr", credential), custom("acme", "registrycredentials", "ghcr"))
    certificates = {"app.kubernetes.io/managed-by": "akua-certificates"}
    for manifest in (
        secret("acme", "ghcr"),
        secret("bystander", "theirs"),
        secret("kube-system", "theirs"),
        secret("shop-prod", "akua-pull-shop", PULL, labels=OURS),
        secret("shop-prod", "akua-pull-theirs", PULL),
        secret(SYSTEM, "akua-access-token-keys", KEYS),
        secret(SYSTEM, "akua-install-token-keys", KEYS),
        secret(SYSTEM, "akua-install-token-jwks", KEYS),
        secret(SYSTEM, "akua-ca", CA, labels=certificates),
        secret(SYSTEM, "akua-webhook-tls", "kubernetes.io/tls", labels=certificates),
        secret(SYSTEM, "akua-proxy-tls", "kubernetes.io/tls"),  # a person's
        secret(SYSTEM, "akua-audit"),
    ):
        add(manifest, core(manifest["metadata"]["namespace"], "secrets", manifest["metadata"]["name"]))
    for namespace in ("shop-prod", "bystander"):
        labels = OURS if namespace == "shop-prod" else {}
        add(grant(namespace, "shop", labels=labels), custom(namespace, "pullgrants", "shop"))
    for plural in HEARTBEATS:
        add(heartbeat(plural), custom(SYSTEM, plural, "akua-heartbeat"))
    somebody = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "somebody"}
    add(binding("acme"), binding_path("acme"))
    add({**binding("bystander", "Helm"), "subjects": [somebody]}, binding_path("bystander"))
    published = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "akua-ca"}, "data": {"ca.crt": "PEM"}}
    add(published, core(SYSTEM, "configmaps", "akua-ca"))
    add(lease(), group("coordination.k8s.io/v1", SYSTEM, "leases", "akua-install-sync"))
    for name, controller, about in (
        ("by-proxy", "akua-proxy", "registry.akua.dev/v1alpha1"),
        ("by-webhook", "akua-webhook", "registry.akua.dev/v1alpha1"),
        ("by-kubelet", "kubelet", "v1"),
    ):
        add(event("acme", name, controller, about), group("events.k8s.io/v1", "acme", "events", name))
    return made

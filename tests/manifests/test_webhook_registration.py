"""Which requests the API server sends to the webhook: the MutatingWebhookConfiguration as it is, on a real API server."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trustme

from tests.support.api_requests import Answer, ApiRequests
from tests.support.kustomize import Manifest, built, named
from tests.support.pods import pod_manifest

CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/akua-webhook"
PART = {"registry.akua.dev/part": "proxy"}


@dataclass(slots=True)
class Receiver:
    """Answers every review with yes, and keeps it."""

    url: str
    ca_bundle: str
    reviews: list[dict[str, Any]] = field(default_factory=list)

    def since(self, count: int) -> list[tuple[str, str]]:
        """(operation, resource[/subresource]) of each review after the first `count`."""
        requests = [review["request"] for review in self.reviews[count:]]
        return [
            (each["operation"], "/".join(filter(None, (each["resource"]["resource"], each.get("subResource")))))
            for each in requests
        ]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    reviews: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reviews.append(review)
            response = {"uid": review["request"]["uid"], "allowed": True}
            body = json.dumps({**review, "request": None, "response": response}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    bundle = base64.b64encode(authority.cert_pem.bytes()).decode()
    yield Receiver(f"https://127.0.0.1:{server.server_port}/mutate", bundle, reviews)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def registered(api: ApiRequests, receiver: Receiver) -> Iterator[Receiver]:
    """The base's configuration in force, pointed at the receiver."""
    configuration = named(built("base"), "MutatingWebhookConfiguration", "akua-webhook")
    (webhook,) = configuration["webhooks"]
    assert webhook["clientConfig"]["service"] == {
        "name": "akua-webhook",
        "namespace": "akua-system",
        "path": "/mutate",
        "port": 443,
    }
    webhook["clientConfig"] = {"url": receiver.url, "caBundle": receiver.ca_bundle}
    webhook["failurePolicy"] = "Fail"  # else a condition that does not compile would only look like no match
    api.apply(configuration, CONFIGURATION)
    for name in ("shop", "akua-node-trust", "kube-system"):
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, f"/api/v1/namespaces/{name}")
    while not receiver.reviews:
        create(api, pod_manifest("nginx"))
    yield receiver
    api("DELETE", CONFIGURATION)


def create(api: ApiRequests, manifest: Manifest, dry_run: bool = True) -> Answer:
    answer = api("POST", f"/api/v1/namespaces/{manifest['metadata']['namespace']}/pods", manifest, dry_run=dry_run)
    assert answer.allowed, answer.message
    return answer


def annotated(manifest: Manifest, **annotations: str) -> Manifest:
    manifest["metadata"]["annotations"] = {name.replace("_", "/"): value for name, value in annotations.items()}
    return manifest


@pytest.mark.parametrize(
    ("manifest", "asked"),
    [
        (pod_manifest("nginx"), True),
        (annotated(pod_manifest("nginx"), note="any"), True),
        (annotated(pod_manifest("nginx", nodeName="node"), **{"kubernetes.io_config.mirror": "hash"}), False),
        (pod_manifest("nginx", labels=PART), False),
        (pod_manifest("nginx", namespace="kube-system"), False),
        (pod_manifest("nginx", namespace="kube-public"), False),
        (pod_manifest("nginx", namespace="kube-node-lease"), False),
        (pod_manifest("nginx", namespace="akua-node-trust"), False),
        (pod_manifest("nginx", namespace="default"), True),
    ],
    ids=lambda value: json.dumps(value["metadata"]) if isinstance(value, dict) else str(value),
)
def test_which_pods_are_reviewed_when_created(api: ApiRequests, registered: Receiver, manifest: Manifest, asked: bool) -> None:
    before = len(registered.reviews)
    if "kubernetes.io/config.mirror" in manifest["metadata"].get("annotations", {}):
        # Only a node may make one, for itself.
        answer = api("POST", "/api/v1/namespaces/shop/pods", manifest, dry_run=True)
    else:
        answer = create(api, manifest)
    assert answer.allowed, answer.message
    assert registered.since(before) == ([("CREATE", "pods")] if asked else [])


def test_our_own_namespace_is_not_reviewed(api: ApiRequests, registered: Receiver) -> None:
    before = len(registered.reviews)
    manifest = pod_manifest(
        "nginx", namespace="akua-system", securityContext={"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    )
    manifest["spec"]["containers"][0]["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    create(api, manifest)
    assert registered.since(before) == []


def test_of_updates_only_those_that_bring_an_image(api: ApiRequests, registered: Receiver) -> None:
    create(api, pod_manifest("nginx"), dry_run=False)
    path = "/api/v1/namespaces/shop/pods/web"

    def asked(body: dict[str, Any], subresource: str = "") -> list[tuple[str, str]]:
        before = len(registered.reviews)
        answer = api("PATCH", path + subresource, body)
        assert answer.allowed, answer.message
        return registered.since(before)

    try:
        assert asked({"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}}}) == []
        assert asked({"spec": {"activeDeadlineSeconds": 600}}) == []
        assert asked({"status": {"phase": "Running"}}, "/status") == []
        image = {"spec": {"containers": [{"name": "c0", "image": "nginx:2", "imagePullPolicy": "Always"}]}}
        assert asked(image) == [("UPDATE", "pods")]
        assert asked(image) == []
        debugger = {"name": "debug", "image": "busybox", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}
        assert asked({"spec": {"ephemeralContainers": [debugger]}}, "/ephemeralcontainers") == [
            ("UPDATE", "pods/ephemeralcontainers")
        ]
    finally:
        api("DELETE", path, {"gracePeriodSeconds": 0})


def test_what_the_api_server_must_be_told(api: ApiRequests) -> None:
    """The checklist for image-rewriting webhooks, as the base has it."""
    (webhook,) = named(built("base"), "MutatingWebhookConfiguration", "akua-webhook")["webhooks"]
    assert webhook["failurePolicy"] == "Ignore"
    assert webhook["timeoutSeconds"] <= 3
    assert webhook["sideEffects"] == "None"
    assert webhook["matchPolicy"] == "Equivalent"
    assert webhook["reinvocationPolicy"] == "IfNeeded"
    assert "caBundle" not in webhook["clientConfig"]


def test_applying_again_leaves_the_leaders_ca_bundle(api: ApiRequests, receiver: Receiver) -> None:
    """A server-side apply of the manifests by people, and the leader's patch, meet in one object."""
    configuration = named(built("base"), "MutatingWebhookConfiguration", "akua-webhook")
    configuration["metadata"]["name"] = "akua-webhook-apply"
    configuration["webhooks"][0]["objectSelector"] = {"matchLabels": {"no": "pod"}}
    path = CONFIGURATION + "-apply"
    try:
        api.apply(configuration, path)
        leaders = {"webhooks": [{**api("GET", path).body["webhooks"][0]}]}
        leaders["webhooks"][0]["clientConfig"]["caBundle"] = receiver.ca_bundle
        assert api("PATCH", path, leaders).allowed
        configuration["webhooks"][0]["timeoutSeconds"] = 2
        api.apply(configuration, path)
        found = api("GET", path).body["webhooks"][0]
        assert (found["timeoutSeconds"], found["clientConfig"]["caBundle"]) == (2, receiver.ca_bundle)
    finally:
        api("DELETE", path)

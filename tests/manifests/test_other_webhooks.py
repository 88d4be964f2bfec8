"""Other mutating webhooks beside ours, on a real API server: a sidecar injector that undoes what was rewritten before it ran."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trustme

from programs.telemetry import Telemetry
from registry_access.model.resources import PullGrant
from tests.support.api_requests import ApiRequests
from tests.support.kustomize import Manifest, built, named
from tests.support.pods import HOST, grant, pod_manifest
from webhook.admission.app import WebhookApp

PATH = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
OURS = ("akua-webhook", "zz-akua-webhook")
NAMESPACE = "beside-others"
HERE = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


class Grants:
    def grants(self, namespace: str) -> Sequence[PullGrant]:
        return (grant(),) if namespace == NAMESPACE else ()


def inject(review: dict[str, Any]) -> bytes:
    """As injectors do it: renders the pod's first container again, adds one, and has pull Secrets of its own."""
    request = review["request"]
    spec = request["object"]["spec"]
    first = {**spec["containers"][0], "image": "ghcr.io/acme/app:1"}
    sidecar = {"name": "sidecar", "image": "ghcr.io/acme/sidecar:1"}
    operations = [
        {"op": "add", "path": "/spec/containers", "value": [first, sidecar]},
        {"op": "add", "path": "/spec/imagePullSecrets", "value": [{"name": "injected"}]},
    ]
    response = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch"}
    response["patch"] = base64.b64encode(json.dumps(operations).encode()).decode()
    return json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()


@pytest.fixture(scope="module")
def client_config() -> Iterator[dict[str, dict[str, str]]]:
    """`clientConfig` of ours and of the injector, both served here."""
    authority, app = trustme.CA(), WebhookApp(Grants(), Telemetry())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            ours = self.path.startswith("/mutate")
            answer = app.reply(b"POST", b"/mutate", body).body if ours else inject(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    bundle = base64.b64encode(authority.cert_pem.bytes()).decode()
    url = f"https://127.0.0.1:{server.server_port}"
    yield {name: {"url": f"{url}/{name}", "caBundle": bundle} for name in ("mutate", "inject")}
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def ours(api: ApiRequests, client_config: dict[str, dict[str, str]]) -> Iterator[None]:
    """Both registrations of the base, in one namespace."""
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, f"/api/v1/namespaces/{NAMESPACE}")
    for name in OURS:
        configuration = named(built("base"), "MutatingWebhookConfiguration", name)
        configuration["webhooks"][0] |= {"clientConfig": client_config["mutate"], "namespaceSelector": HERE}
        api.apply(configuration, f"{PATH}/{name}")
    yield
    for name in OURS:
        api("DELETE", f"{PATH}/{name}")


@pytest.fixture
def injector(api: ApiRequests, ours: None, client_config: dict[str, dict[str, str]]) -> Iterator[None]:
    configuration: Manifest = named(built("base"), "MutatingWebhookConfiguration", OURS[0])
    configuration["metadata"]["name"] = "sidecar-injector"
    asked = {"name": "injector.example.com", "clientConfig": client_config["inject"], "namespaceSelector": HERE}
    configuration["webhooks"][0] |= asked
    api.apply(configuration, f"{PATH}/sidecar-injector")
    yield
    api("DELETE", f"{PATH}/sidecar-injector")


def created(api: ApiRequests) -> tuple[list[str], list[str]]:
    """Images and pull Secrets of a pod as the API server stores it."""
    answer = api(
        "POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod_manifest("ghcr.io/acme/app:1", namespace=NAMESPACE), dry_run=True
    )
    assert answer.allowed, answer.message
    spec = answer.body["spec"]
    return [each["image"] for each in spec["containers"]], [each["name"] for each in spec.get("imagePullSecrets", [])]


def settled(api: ApiRequests, wanted: tuple[list[str], list[str]]) -> None:
    """A registration takes a moment to be in force."""
    for _ in range(100):
        if (found := created(api)) == wanted:
            return
    assert found == wanted


def test_an_injector_between_the_two_undoes_nothing(api: ApiRequests, injector: None) -> None:
    images = [f"{HOST}/ghcr.io/acme/app:1", f"{HOST}/ghcr.io/acme/sidecar:1"]
    settled(api, (images, ["injected", "akua-pull-shop"]))
    # The early one alone, though it is asked again after the injector, is undone: the injector is asked again after it.
    api("DELETE", f"{PATH}/zz-akua-webhook")
    settled(api, (["ghcr.io/acme/app:1", "ghcr.io/acme/sidecar:1"], ["injected"]))


@pytest.mark.parametrize("image", ["ghcr.io/acme/app:1", f"{HOST}/ghcr.io/acme/app:1"])
def test_a_pod_is_replaced_by_its_own_manifest(api: ApiRequests, ours: None, image: str) -> None:
    """`kubectl replace -f pod.yaml`: the manifest has neither our image nor our Secret, which an update may not remove."""
    settled(api, ([f"{HOST}/ghcr.io/acme/app:1"], ["akua-pull-shop"]))
    manifest = pod_manifest(image, namespace=NAMESPACE)
    try:
        before = api("POST", PODS, manifest)
        assert before.allowed, before.message
        after = api("PUT", f"{PODS}/web", manifest)
        assert after.allowed, after.message
        assert after.body["spec"] == before.body["spec"]
        assert after.body["metadata"].get("annotations") == before.body["metadata"].get("annotations")
        manifest["spec"]["containers"][0]["image"] = "redis"
        after = api("PUT", f"{PODS}/web", manifest)
        assert after.allowed, after.message
        assert after.body["spec"]["imagePullSecrets"] == [{"name": "akua-pull-shop"}]
        assert not after.body["metadata"].get("annotations")
    finally:
        api("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 0})


def test_both_registrations_ask_the_same_of_the_api_server() -> None:
    early, late = (named(built("base"), "MutatingWebhookConfiguration", name)["webhooks"] for name in OURS)
    assert [webhook.pop("name") for webhook in (*early, *late)] == ["pods.registry.akua.dev", "late.pods.registry.akua.dev"]
    assert early == late
    annotations = named(built("base+cert-manager"), "MutatingWebhookConfiguration", OURS[1])["metadata"]["annotations"]
    assert annotations == {"cert-manager.io/inject-ca-from": "akua-system/akua-webhook-tls"}

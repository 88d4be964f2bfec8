"""The webhook as the API server calls it, and as anybody else might."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from programs.telemetry import Telemetry
from registry_access.model.resources import PullGrant
from registry_access.runtime.health import Health
from registry_access.runtime.http.address import Address
from registry_access.runtime.serving import Listener, Servers
from registry_access.runtime.tls.served_certificate import TlsFiles
from tests.support.pods import grant, operations_of, pod, review
from tests.support.serving import served
from webhook.admission.api_servers import ApiServers
from webhook.admission.app import BODY_MAXIMUM, WebhookApp
from webhook.admission.review import AdmissionRequest
from webhook.admission.rewriting import Rewriting


class Grants:
    def grants(self, namespace: str) -> tuple[PullGrant, ...]:
        return (grant(),) if namespace == "prod" else ()


class Broken:
    def grants(self, namespace: str) -> tuple[PullGrant, ...]:
        raise RuntimeError("a bug")


SEEN: list[Rewriting] = []


def observe(asked: AdmissionRequest, rewriting: Rewriting) -> None:
    SEEN.append(rewriting)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    SEEN.clear()
    async with (
        served(WebhookApp(Grants(), Telemetry(), observe)) as host,
        httpx.AsyncClient(base_url=f"http://{host}", timeout=10) as client,
    ):
        yield client


async def test_a_review_is_answered_with_a_patch(client: httpx.AsyncClient) -> None:
    answer = await client.post("/mutate", content=review(pod("ghcr.io/acme/app:1")))
    assert answer.status_code == 200
    assert answer.json()["response"]["uid"] == "4d6f"
    assert operations_of(answer.content)[0]["path"] == "/spec/containers/0/image"
    assert len(SEEN) == 1


async def test_a_dry_run_is_answered_the_same_and_leaves_no_trace(client: httpx.AsyncClient) -> None:
    answer = await client.post("/mutate", content=review(pod("ghcr.io/acme/app:1"), dry_run=True))
    assert operations_of(answer.content)
    assert SEEN == []


async def test_warnings_are_printable_and_bounded(client: httpx.AsyncClient) -> None:
    answer = await client.post("/mutate", content=review(pod(*["ghcr.io/acme/\r\nÄ" + "x" * 400] * 40)))
    warnings = answer.json()["response"]["warnings"]
    assert len(warnings) == 16
    assert all(len(text) <= 256 and text.isascii() and text.isprintable() for text in warnings)


@pytest.mark.parametrize("kind", ["Deployment", "", "pod"])
async def test_what_is_no_pod_is_allowed_as_it_is(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("/mutate", content=review(pod("ghcr.io/acme/app:1"), kind=kind))
    assert operations_of(answer.content) == []


async def test_a_pod_of_another_api_group_is_none_of_ours(client: httpx.AsyncClient) -> None:
    body = json.loads(review(pod("ghcr.io/acme/app:1")))
    body["request"]["kind"]["group"] = "pods.example.com"
    assert operations_of((await client.post("/mutate", content=json.dumps(body).encode())).content) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
async def test_other_methods_are_told_which_one_is_allowed(client: httpx.AsyncClient, method: str) -> None:
    """RFC 9110, section 15.5.6."""
    answer = await client.request(method, "/mutate")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}',
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":7}}',
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"a"}}',
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"a","object":NaN}}',
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"\\ud800"}}',
        b"\xff\xfe",
    ],
)
async def test_malformed_reviews_get_a_400(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.post("/mutate", content=body)).status_code == 400


async def test_a_body_without_end_is_refused(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * 1_000_000

    with contextlib.suppress(httpx.TransportError):  # the server may hang up before all was sent
        assert (await client.post("/mutate", content=endless())).status_code == 413


@pytest.mark.parametrize(("length", "status"), [(BODY_MAXIMUM + 1, 413), (100, 408)])
async def test_large_and_slow_bodies_are_not_waited_for(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, length: int, status: int
) -> None:
    monkeypatch.setattr(WebhookApp, "body_seconds", 0.2)
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(f"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{{".encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer.startswith(f"HTTP/1.1 {status}".encode())


async def test_a_bug_of_ours_lets_the_pod_through_and_says_so() -> None:
    telemetry = Telemetry()
    async with served(WebhookApp(Broken(), telemetry)) as host, httpx.AsyncClient() as client:
        answer = await client.post(f"http://{host}/mutate", content=review(pod("ghcr.io/acme/app:1")))
    assert answer.json()["response"]["allowed"] is True
    assert "internal error" in answer.json()["response"]["warnings"][0]
    assert b'akua_admission_reviews_total{operation="CREATE",outcome="error"} 1.0' in telemetry.exposition()


values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=15,
)
requests = st.dictionaries(
    st.sampled_from(["uid", "kind", "operation", "subResource", "namespace", "object", "oldObject", "dryRun"]),
    values | st.just("prod") | st.just({"kind": "Pod"}),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(requests)
async def test_no_review_gets_a_500(client: httpx.AsyncClient, request_fields: dict[str, Any]) -> None:
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "a", **request_fields}}
    answer = await client.post("/mutate", content=json.dumps(body).encode())
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert answer.json()["response"]["allowed"] is True
        assert "internal error" not in answer.text


async def test_reviews_that_are_refused_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The API server fails open on each of them: a platform engineer must be able to see it."""
    telemetry, now = Telemetry(), [0.0]
    app = WebhookApp(Grants(), telemetry, clock=lambda: now[0])
    for seconds in (0.0, 30.0, 60.0):
        now[0] = seconds
        app.refused(413, BODY_MAXIMUM + 1)
    app.refused(408, 7)
    app.refused(503, 9)
    metrics = telemetry.exposition().decode()
    for outcome, count in (("too-large", 3), ("too-slow", 1), ("overload", 1)):
        assert f'akua_admission_reviews_total{{operation="",outcome="{outcome}"}} {count}.0' in metrics
    assert [record.message.count("7340033 bytes") for record in caplog.records] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    "value",
    [
        b"[" + b"[]," * 2_000_000 + b"1]",
        b"{" + b'"a":{},' * 900_000 + b'"b":1}',
        b"[" + b"1," * 900_000 + b"1]",
        b"[" + b'"ab",' * 900_000 + b"1]",
    ],
    ids=["lists", "objects", "numbers", "texts"],
)
async def test_a_review_that_would_fill_the_memory_is_refused_before_it_is_decoded(value: bytes) -> None:
    telemetry = Telemetry()
    body = review({"spec": "VALUE"}).replace(b'"VALUE"', value)
    reply = WebhookApp(Grants(), telemetry).reply(b"POST", b"/mutate", body)
    assert (reply.status, reply.body) == (413, b"the review has too many values\n")
    assert b'akua_admission_reviews_total{operation="",outcome="too-complex"} 1.0' in telemetry.exposition()


def test_the_largest_real_reviews_are_decoded() -> None:
    """A pod as large as etcd takes, twice, with everything that an API server adds."""
    container = {"name": "c", "image": "ghcr.io/acme/app:1", "resources": {}, "terminationMessagePath": "/dev/termination-log"}
    document = pod() | {"spec": {"containers": [{**container, "env": [{"name": "A", "value": "b"}]}] * 9000}}
    owned: dict[str, Any] = {f"c{number}": {".": {}, "f:image": {}} for number in range(9000)}
    document["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": {"f:containers": owned}}]
    body = json.dumps(json.loads(review(document, old=document, operation="UPDATE")), separators=(",", ":")).encode()
    assert 3_000_000 < len(body) < BODY_MAXIMUM
    assert WebhookApp(Grants(), Telemetry()).reply(b"POST", b"/mutate", body).status == 200


def test_until_the_state_is_read_no_review_is_answered_as_if_there_were_no_grants() -> None:
    app = WebhookApp(None, Telemetry())
    assert app.reply(b"POST", b"/mutate", review(pod("ghcr.io/acme/app:1"))).status == 503
    app.grants = Grants()
    assert operations_of(app.reply(b"POST", b"/mutate", review(pod("ghcr.io/acme/app:1"))).body)


@pytest.fixture
async def known(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[httpx.Response]]]:
    """Sends a review to a webhook that knows its API servers, by certificate or token, with what is given of either."""
    SEEN.clear()
    authority, clients, token = trustme.CA(), trustme.CA(), tmp_path / "token"
    clients.cert_pem.write_to_path(tmp_path / "clients.pem")
    clients.issue_cert(common_name="kube-apiserver").private_key_and_cert_chain_pem.write_to_path(tmp_path / "kube-apiserver")
    clients.issue_cert(common_name="kubelet").private_key_and_cert_chain_pem.write_to_path(tmp_path / "kubelet")
    serving = authority.issue_cert("127.0.0.1")
    serving.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    serving.private_key_pem.write_to_path(tmp_path / "tls.key")
    token.write_text("the-token")
    telemetry = Telemetry()
    running: list[tuple[Servers, asyncio.Task[None]]] = []

    async def ask(*, certificate: str = "", authorization: str = "", refuses: bool = False) -> httpx.Response:
        servers = ApiServers(certificates=True, names=("kube-apiserver",), token_file=token, refuses=refuses)
        app = WebhookApp(Grants(), telemetry, observe, api_servers=servers)
        files = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "clients.pem")
        listening = Servers([Listener("webhook", app, Address("127.0.0.1", 0), files)], telemetry=telemetry, health=Health())
        started = asyncio.Event()
        task = asyncio.create_task(listening.run(started.set))
        running.append((listening, task))
        await started.wait()
        trusted = ssl.create_default_context()
        authority.configure_trust(trusted)
        if certificate:
            trusted.load_cert_chain(tmp_path / certificate)
        headers = {"Authorization": authorization} if authorization else {}
        async with httpx.AsyncClient(verify=trusted, headers=headers, trust_env=False) as client:
            url = f"https://127.0.0.1:{listening.port('webhook')}/mutate"
            return await client.post(url, content=review(pod("ghcr.io/acme/app:1")))

    yield ask
    for listening, task in running:
        listening.stop()
        await task


@pytest.mark.parametrize(
    ("shown", "recorded"),
    [
        ({"certificate": "kube-apiserver"}, 1),
        ({"authorization": "Bearer the-token"}, 1),
        ({"certificate": "kubelet", "authorization": "Bearer the-token"}, 1),
        ({"certificate": "kubelet"}, 0),
        ({"authorization": "Bearer another"}, 0),
        ({}, 0),
    ],
)
async def test_only_reviews_of_an_api_server_are_recorded_where_it_shows_a_credential(
    known: Callable[..., Awaitable[httpx.Response]], shown: dict[str, str], recorded: int
) -> None:
    """Issue 11, item 9: anybody who reached the port had forged pods recorded."""
    answer = await known(**shown)
    assert operations_of(answer.content), "it is answered all the same"
    assert len(SEEN) == recorded


async def test_others_may_be_refused(known: Callable[..., Awaitable[httpx.Response]]) -> None:
    assert (await known(refuses=True)).status_code == 401
    assert (await known(refuses=True, authorization="Bearer the-token")).status_code == 200
    assert len(SEEN) == 1

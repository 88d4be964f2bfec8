"""What nodes and the API server meet: name, processes, registration, certificates, clock."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control.doctor.cluster.admission.registration import registration_checks
from control.doctor.cluster.certificates import certificate_checks
from control.doctor.cluster.clock import clock_check
from control.doctor.cluster.deployments import part_checks
from control.doctor.cluster.installation import Installation, read_installation
from control.doctor.cluster.reach.nodes import name_checks
from control.doctor.cluster.reach.route import Answer, judge_name, judge_service, route_checks
from control.doctor.cluster.view import Listing, Lookup
from registry_access.runtime.tls.certificate_authority import CertificateAuthority
from registry_access.settings import Settings
from tests.support.fake_cluster import ABSENT, APPS, HIDDEN, SYSTEM, FakeApi, deployment, findings, seen, told

HOST = "oci.akua.dev"
CA = CertificateAuthority.new("one", 3650)
OTHER_CA = CertificateAuthority.new("two", 3650)
BUNDLE, OTHER = CA.pair.certificate.decode(), OTHER_CA.pair.certificate.decode()


def node_trust(ready: int, wanted: int, host: str = HOST) -> Lookup:
    status = {"desiredNumberScheduled": wanted, "numberReady": ready}
    containers = [{"env": [{"name": "AKUA_HOST", "value": host}]}]
    return seen({"spec": {"template": {"spec": {"containers": containers}}}, "status": status})


@pytest.mark.parametrize(
    ("look", "addresses", "found", "says"),
    [
        (node_trust(3, 3), [], [("good", "name"), ("good", "node-trust")], "3 of 3 nodes are configured"),
        (node_trust(2, 3), [], [("good", "name"), ("bad", "node-trust")], "1 of 3 nodes are not configured yet"),
        (node_trust(0, 0), [], [("good", "name"), ("bad", "node-trust")], "runs on no node"),
        (node_trust(3, 3, "a.example"), [], [("good", "name"), ("bad", "node-trust")], "configures nodes for a.example"),
        (ABSENT, ["192.0.2.1"], [("good", "name")], "oci.akua.dev resolves to 192.0.2.1 here; nodes must resolve it too"),
        (ABSENT, [], [("bad", "name")], "no pod can pull; give it a public name and certificate"),
        (HIDDEN, ["192.0.2.1"], [("good", "name")], "cannot be checked"),
        (HIDDEN, [], [("unseen", "name")], "does not resolve here; whether akua-node-trust configures nodes cannot be checked"),
    ],
)
def test_nodes_find_the_proxy_by_a_public_name_or_because_they_are_told(
    look: Lookup, addresses: list[str], found: list[tuple[str, str]], says: str
) -> None:
    checks = name_checks(Installation(HOST, node_trust=look), addresses)
    assert findings(*checks) == found
    assert says in checks[-1].detail


def endpoints(*ready: bool | None) -> Listing:
    listed = [{"addresses": [f"10.0.0.{number}"], "conditions": {"ready": each}} for number, each in enumerate(ready)]
    return Listing([{"endpoints": listed}, {"endpoints": None}])


def test_processes_and_their_endpoints() -> None:
    installation = Installation(
        HOST,
        webhook=seen(deployment(ready=1)),
        proxy=seen(deployment(ready=0, replicas=1)),
        endpoints={"akua-webhook": endpoints(True, None, False), "akua-proxy": endpoints(False)},
    )
    found = told(part_checks(installation))
    assert found["deployment akua-webhook"][0] == "warning"
    assert found["service akua-webhook"] == ("good", "2 ready endpoints")
    assert found["deployment akua-proxy"][0] == "bad"
    assert found["service akua-proxy"][0] == "bad"
    assert "no node can pull" in found["service akua-proxy"][1]


@pytest.mark.parametrize(
    ("look", "finding", "says"),
    [
        (ABSENT, "bad", "kubectl apply -k"),
        (HIDDEN, "unseen", "cannot be looked at: not allowed"),
        (seen(deployment(replicas=0)), "bad", "scale deployment akua-proxy"),
        (seen(deployment()), "good", "2 of 2 pods are ready"),
    ],
)
def test_a_deployment(look: Lookup, finding: str, says: str) -> None:
    none = Listing(problem="hidden")
    installation = Installation(HOST, proxy=look, endpoints={"akua-webhook": none, "akua-proxy": none})
    found = told(part_checks(installation))
    assert found["deployment akua-proxy"][0] == finding
    assert says in found["deployment akua-proxy"][1]
    assert found["service akua-proxy"][0] == "warning"


def registered(bundle: str, **client: Any) -> Lookup:
    service = {"service": {"namespace": "akua-system", "name": "akua-webhook"}}
    config = service | {"caBundle": base64.b64encode(bundle.encode()).decode()} | client
    return seen({"webhooks": [{"name": "pods.registry.akua.dev", "failurePolicy": "Ignore", "clientConfig": config}]})


@pytest.mark.parametrize(
    ("registration", "ca", "finding", "says"),
    [
        (registered(BUNDLE), BUNDLE, "good", "failurePolicy Ignore, caBundle as in"),
        (registered(BUNDLE), BUNDLE + OTHER, "warning", "a rotation may be in progress"),
        (registered(OTHER), BUNDLE, "bad", "its caBundle is not the CA in ConfigMap akua-ca"),
        (registered(""), BUNDLE, "bad", "has no caBundle"),
        (registered("junk"), BUNDLE, "bad", "has no caBundle"),
        (registered("", caBundle="%%%"), BUNDLE, "bad", "has no caBundle"),
        (registered(BUNDLE), "", "warning", "ConfigMap akua-ca has no certificate"),
        (registered(BUNDLE, service=None, url="https://10.0.0.1/mutate"), BUNDLE, "warning", "points to https://10.0.0.1/mutate"),
        (seen({"webhooks": []}), BUNDLE, "bad", "lists no webhook"),
        (ABSENT, BUNDLE, "bad", "no pod is rewritten"),
        (HIDDEN, BUNDLE, "unseen", "cannot be looked at"),
    ],
)
def test_the_registration(registration: Lookup, ca: str, finding: str, says: str) -> None:
    installation = Installation(HOST, registration=registration, ca=seen({"data": {"ca.crt": ca}}))
    (check,) = registration_checks(installation)
    assert (str(check.finding), says in check.detail) == (finding, True), check.detail


def test_a_ca_that_may_not_be_seen_is_not_compared() -> None:
    (check,) = registration_checks(Installation(HOST, registration=registered(BUNDLE), ca=HIDDEN))
    assert (str(check.finding), "cannot be compared: not allowed" in check.detail) == ("unseen", True)


@pytest.mark.parametrize(
    ("offset", "finding", "says"),
    [
        (0.4, "good", "agree to within 5 s"),
        (-4.9, "good", "agree to within 5 s"),
        (7.0, "warning", "7 s ahead of this machine's"),
        (-12.0, "warning", "12 s behind this machine's"),
        (30.0, "bad", "tokens tolerate 30 s"),
        (-3600.0, "bad", "3600 s behind"),
        (None, "warning", "had no Date header"),
    ],
)
def test_the_clock(offset: float | None, finding: str, says: str) -> None:
    check = clock_check(offset, inside=False)
    assert (str(check.finding), says in check.detail) == (finding, True), check.detail


NOW = datetime.now(UTC)
BEARER, BASIC = f'Bearer realm="https://{HOST}/token",service="{HOST}"', f'Basic realm="{HOST}"'


@pytest.mark.parametrize(
    ("answer", "found", "says"),
    [
        (Answer(401, BASIC, NOW + timedelta(days=60)), [("good", "route"), ("good", "trust")], "good for"),
        (Answer(401, BASIC, NOW + timedelta(days=3)), [("good", "route"), ("warning", "trust")], "only; renew it"),
        (Answer(401, BASIC, NOW - timedelta(days=3)), [("good", "route"), ("bad", "trust")], "expired at"),
        (Answer(401, BEARER), [("bad", "route")], "AKUA_HOST or AKUA_EXTERNAL_URL differs"),
        (Answer(404), [("bad", "route")], "something else than the proxy"),
        (Answer(200), [("bad", "route")], "answers 200 and no challenge"),
        (Answer(untrusted="self-signed"), [("warning", "route")], "something else, seen from here"),
        (Answer(unreached="timed out"), [("warning", "route")], "exec deploy/akua-webhook -- akua doctor"),
    ],
)
def test_the_way_of_a_node_that_is_told(answer: Answer, found: list[tuple[str, str]], says: str) -> None:
    checks = judge_service("https://10.96.0.7", answer, Installation(HOST))
    assert findings(*checks) == found
    assert says in checks[-1].detail


def test_from_within_the_way_leads_to_the_proxy_or_something_is_wrong() -> None:
    inside = Installation(HOST, inside=True)
    checks = judge_service("https://10.96.0.7", Answer(untrusted="self-signed"), inside)
    assert findings(*checks) == [("good", "route"), ("bad", "trust")]
    assert "akua-ca does not vouch for: self-signed" in checks[1].detail
    (check,) = judge_service("https://10.96.0.7", Answer(unreached="timed out"), inside)
    assert (str(check.finding), "its NetworkPolicy may not let it" in check.detail) == ("warning", True)


@pytest.mark.parametrize(
    ("answer", "ours", "found", "says"),
    [
        (Answer(401, BEARER, NOW + timedelta(days=60)), False, [("good", "route"), ("good", "trust")], "good for"),
        (Answer(401, BASIC), False, [("bad", "route")], "not for"),
        (Answer(untrusted="unknown"), False, [("good", "route"), ("bad", "trust")], "roots do not vouch for: unknown"),
        (Answer(untrusted="unknown"), True, [("good", "route"), ("bad", "trust")], "of our own CA"),
        (Answer(unreached="refused"), False, [("bad", "route")], "is the Ingress or LoadBalancer there?"),
    ],
)
def test_the_way_of_a_node_that_resolves_the_name(answer: Answer, ours: bool, found: list[tuple[str, str]], says: str) -> None:
    checks = judge_name(Installation(HOST), answer, ours=ours)
    assert findings(*checks) == found
    assert says in checks[-1].detail


async def test_without_an_address_or_a_ca_there_is_no_way_to_go() -> None:
    told_nodes = Installation(HOST, node_trust=node_trust(1, 1), service=ABSENT, ca=seen({"data": {"ca.crt": BUNDLE}}))
    assert findings(*await route_checks(told_nodes, [])) == [("bad", "route")]
    assert findings(*await route_checks(replace(told_nodes, service=HIDDEN), [])) == [("unseen", "route")]
    service = seen({"spec": {"clusterIP": "127.0.0.1", "ports": [{"port": 443}]}})
    assert findings(*await route_checks(replace(told_nodes, service=service, ca=ABSENT), [])) == [("bad", "trust")]
    assert findings(*await route_checks(replace(told_nodes, service=service, ca=HIDDEN), [])) == [("unseen", "trust")]
    assert await route_checks(Installation(HOST), []) == [], "the name is what is bad"


def secret(pem: bytes) -> dict[str, Any]:
    return {"data": {"tls.crt": base64.b64encode(pem).decode()}}


async def test_certificates_that_end_are_said_and_keys_are_never_shown() -> None:
    served = CA.issue(["akua-webhook.akua-system.svc"])
    api = FakeApi(
        {
            f"{SYSTEM}/secrets/akua-webhook-tls": secret(served.certificate) | {"key": served.key.decode()},
            f"{SYSTEM}/secrets/akua-proxy-tls": secret(b"nonsense"),
        }
    )
    installation = Installation(HOST, ca=seen({"data": {"ca.crt": BUNDLE + OTHER}}))
    checks = await certificate_checks(api.view, installation, NOW)
    assert findings(*checks) == [
        ("good", "certificate akua-ca"),
        ("good", "certificate akua-ca"),
        ("good", "certificate akua-webhook-tls"),
        ("bad", "certificate akua-proxy-tls"),
    ]
    assert "PRIVATE" not in str(checks)
    soon = await certificate_checks(api.view, installation, NOW + timedelta(days=80))
    assert told(soon)["certificate akua-webhook-tls"][0] == "warning"
    later = await certificate_checks(api.view, installation, NOW + timedelta(days=91))
    assert re.match(
        r"Secret akua-webhook-tls expired at .*; its renewal is overdue", told(later)["certificate akua-webhook-tls"][1]
    )


async def test_certificates_that_are_not_there_or_may_not_be_seen() -> None:
    api = FakeApi(refused={f"{SYSTEM}/secrets/akua-proxy-tls"})
    found = told(await certificate_checks(api.view, Installation(HOST), NOW))
    assert found["certificate akua-ca"][0] == "warning"
    assert found["certificate akua-webhook-tls"][0] == "bad"
    assert found["certificate akua-proxy-tls"][0] == "unseen"
    hidden = told(await certificate_checks(api.view, Installation(HOST, ca=HIDDEN), NOW))
    assert "cannot be looked at" in hidden["certificate akua-ca"][1]


async def test_behind_an_ingress_that_ends_tls_no_certificate_of_the_proxys_is_looked_for() -> None:
    settings = {"AKUA_PROXY_PLAIN_HTTP": "true", "AKUA_EXTERNAL_URL": "https://pull.example", "AKUA_AUDIT_DSN": None}
    env = [{"name": name, "value": value} if value else {"name": name, "valueFrom": {}} for name, value in settings.items()]
    api = FakeApi({f"{APPS}/akua-system/deployments/akua-proxy": deployment(env=env)})
    installation = await read_installation(api.view, Settings(host=HOST), inside=False)
    assert (installation.url, installation.host, installation.plain_http) == ("https://pull.example", HOST, True)
    assert "certificate akua-proxy-tls" not in told(await certificate_checks(api.view, installation, NOW))
    answer = Answer(401, 'Bearer realm="https://pull.example/token",service="x"')
    assert findings(*judge_name(installation, answer, ours=False)) == [("good", "route")]


@pytest.mark.parametrize(
    ("container", "host"),
    [
        ({"env": [{"name": "AKUA_HOST", "value": "named.example"}]}, "named.example"),
        ({"envFrom": [{"configMapRef": {"name": "akua-settings-1"}}, {"secretRef": {"name": "x"}}]}, "mapped.example"),
        ({"envFrom": [{"configMapRef": {"name": "gone"}}]}, HOST),
        ({}, HOST),
    ],
)
async def test_the_host_is_the_proxys_own(container: dict[str, Any], host: str) -> None:
    settings = Settings(host=HOST)
    api = FakeApi(
        {
            f"{APPS}/akua-system/deployments/akua-proxy": deployment(**container),
            f"{SYSTEM}/configmaps/akua-settings-1": {"data": {"AKUA_HOST": "mapped.example"}},
        },
        offset=None,
    )
    installation = await read_installation(api.view, settings, inside=False)
    assert (installation.host, installation.offset) == (host, None)
    assert (await read_installation(api.view, settings, inside=True)).host == HOST, "a pod has its settings"

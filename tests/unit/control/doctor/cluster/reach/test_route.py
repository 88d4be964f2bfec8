"""The way from a node to the proxy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from control.doctor.cluster.installation import Installation
from control.doctor.cluster.reach.route import Answer, judge_name, judge_service, route_checks
from control.doctor.cluster.view import Lookup
from registry_access.runtime.tls.certificate_authority import CertificateAuthority
from tests.support.fake_cluster import ABSENT, HIDDEN, findings, seen

HOST = "oci.akua.dev"


CA = CertificateAuthority.new("one", 3650)


OTHER_CA = CertificateAuthority.new("two", 3650)


BUNDLE, OTHER = CA.pair.certificate.decode(), OTHER_CA.pair.certificate.decode()


def node_trust(ready: int, wanted: int, host: str = HOST) -> Lookup:
    status = {"desiredNumberScheduled": wanted, "numberReady": ready}
    containers = [{"env": [{"name": "AKUA_HOST", "value": host}]}]
    return seen({"spec": {"template": {"spec": {"containers": containers}}}, "status": status})


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

"""The processes and their endpoints."""

from __future__ import annotations

import pytest

from control.doctor.cluster.deployments import part_checks
from control.doctor.cluster.installation import Installation
from control.doctor.cluster.view import Listing, Lookup
from tests.support.fake_cluster import ABSENT, HIDDEN, deployment, seen, told

HOST = "oci.akua.dev"


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

"""Pods that wait for an image of the proxy's: whatever is broken on the way, the doctor is red and says the way out."""

from __future__ import annotations

from typing import Any

import pytest

from control.doctor.cluster.deployments import part_checks
from control.doctor.cluster.installation import Installation
from control.doctor.cluster.state import State
from control.doctor.cluster.view import Listing
from control.doctor.cluster.waiting import waiting_check
from tests.support.fake_cluster import FakeApi, Manifest, deployment, seen, told

HOST = "oci.akua.dev"
IMAGE = f"{HOST}/ghcr.io/acme/app:1"
HEAD = f"failed to resolve reference: unexpected status from HEAD request to https://{HOST}/v2/ghcr.io/acme/app/manifests/1: "


def pod(message: str, reason: str = "ErrImagePull", image: str = IMAGE, name: str = "web-1") -> Manifest:
    container = {"name": "web", "state": {"waiting": {"reason": reason, "message": message}}}
    return {
        "metadata": {"name": name, "namespace": "shop-prod"},
        "spec": {"containers": [{"name": "web", "image": image}]},
        "status": {"phase": "Pending", "containerStatuses": [container]},
    }


def pods(*made: Manifest, **more: Manifest) -> FakeApi:
    return FakeApi({f"/api/v1/pods/{number}": each for number, each in enumerate(made)} | more)


# What was broken, and what the kubelet then says of the pod.
FAULTS: dict[str, tuple[str, str]] = {
    "containerd does not read certs.d": (f"dial tcp: lookup {HOST}: no such host", "config_path"),
    "node trusts another CA": ("tls: failed to verify certificate: x509: signed by unknown authority", "config_path"),
    "upstream password": (f"{HEAD}403 upstream-unauthorized dec_1", "kubectl -n shop-prod get rcred"),
    "upstream permission": (f"{HEAD}403 upstream-denied dec_1", "kubectl -n shop-prod get rcred"),
    "upstream down": (f"{HEAD}502 upstream-unreachable dec_1", "status page"),
    "upstream limits": (f"{HEAD}429 upstream-rate-limited dec_1", "higher limit"),
    "audit volume full": (f"{HEAD}503 audit-unavailable dec_1", "free space"),
    "an install in a loop": (f"{HEAD}429 rate-limited dec_1", "AKUA_PULL_INSTALL_RATE"),
    "PostgreSQL down": (f"{HEAD}503 audit-unavailable dec_1", "bring its database back"),
    "API server cut off": (f"{HEAD}503 state-stale dec_1", "freshness"),
    "ambiguous credential": (f"{HEAD}403 credential-ambiguous dec_1", "get rcred,installs"),
    "no credential": (f"{HEAD}403 credential-missing dec_1", "get rcred,installs"),
    "disabled credential": (f"{HEAD}403 credential-disabled dec_1", "get rcred,installs"),
    "no Secret": (f"{HEAD}403 secret-missing dec_1", "get rcred,installs"),
    "revoked": (f"{HEAD}403 install-revoked dec_1", "revoked or expired"),
    "not in the product": (f"{HEAD}403 not-entitled dec_1", "does not include it"),
    "burnt keys": (f"{HEAD}401 token-invalid dec_1", "leader"),
    "proxy down": ("dial tcp 10.96.0.7:443: connect: connection refused", "route"),
    "network policy": ("dial tcp 10.96.0.7:443: i/o timeout", "route"),
    "something new": ("something that nobody has seen before", "describe pod web-1"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_is_red_and_says_the_way_out(fault: str) -> None:
    message, remedy = FAULTS[fault]
    check = await waiting_check(pods(pod(message)).view, Installation(HOST), State())
    assert str(check.finding) == "bad"
    assert check.detail.startswith(f"1 pod waits for an image: shop-prod/web-1, {IMAGE}: ")
    assert remedy in check.detail, check.detail


async def test_while_the_kubelet_backs_off_the_cause_is_in_its_events() -> None:
    event = {"message": f"Failed to pull image: {HEAD}403 upstream-denied dec_1"}
    api = pods(pod("Back-off pulling image", "ImagePullBackOff"), **{"/api/v1/namespaces/shop-prod/events/1": event})
    check = await waiting_check(api.view, Installation(HOST), State())
    assert "upstream-denied" in check.detail
    assert "get rcred" in check.detail


@pytest.mark.parametrize(
    "other",
    [
        pod("no such host", image="quay.io/x/y:1"),
        pod("", reason="ContainerCreating"),
        {"metadata": {"name": "new", "namespace": "x"}, "spec": {"containers": [{"name": "web", "image": IMAGE}]}, "status": {}},
    ],
)
async def test_pods_that_wait_for_something_else_are_left_out(other: Manifest) -> None:
    assert str((await waiting_check(pods(other).view, Installation(HOST), State())).finding) == "good"


async def test_many_are_counted_and_few_are_named() -> None:
    made = [pod("no such host", name=f"web-{number}") for number in range(9)]
    check = await waiting_check(pods(*made).view, Installation(HOST), State())
    assert check.detail.startswith("9 pods wait for an image: ")
    assert check.detail.endswith("; and 6 more")


async def test_without_the_right_to_list_pods_it_is_not_looked_at() -> None:
    api = FakeApi(refused={"/api/v1/pods"})
    assert str((await waiting_check(api.view, Installation(HOST), State())).finding) == "unseen"


def status(**state: Any) -> Manifest:
    return {"metadata": {"name": "akua-proxy-2"}, "status": {"containerStatuses": [state]}}


CRASHED = {"terminated": {"exitCode": 1, "message": "audit_dsn: cannot be reached"}}


@pytest.mark.parametrize(
    ("process", "says"),
    [
        (status(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=CRASHED), "audit_dsn: cannot be reached"),
        (status(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"exitCode": 3}}), "exit code 3"),
        (status(state={"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}), "ImagePullBackOff: not found"),
        (
            status(state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "akua-audit" not found'}}),
            "akua-audit",
        ),
    ],
)
def test_a_new_version_that_does_not_come_up_behind_old_pods(process: Manifest, says: str) -> None:
    installation = Installation(
        HOST, proxy=seen(deployment()), processes={"akua-proxy": Listing([process])}, endpoints=dict.fromkeys(PARTS, Listing())
    )
    finding, detail = told(part_checks(installation))["deployment akua-proxy"]
    assert (finding, says in detail, "kubectl" in detail) == ("bad", True, True), detail


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out progressing"},
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
    ],
)
def test_a_rollout_that_is_stuck(condition: Manifest) -> None:
    stuck = deployment()
    stuck["status"]["conditions"] = [condition]
    installation = Installation(HOST, proxy=seen(stuck), endpoints=dict.fromkeys(PARTS, Listing()))
    finding, detail = told(part_checks(installation))["deployment akua-proxy"]
    assert (finding, condition["message"] in detail) == ("bad", True), detail


PARTS = ("akua-proxy", "akua-webhook")

"""Which refusals become Events of what, and what they say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.reporting.pull_events import PullEvents
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result
from registry_access.model.decision import Reason
from registry_access.model.resources import resource_from_manifest
from registry_access.state.index import ResourceIndex
from tests.support.install_sync import Told, manifest

EVENT = AuditEvent(
    id="evt_1",
    time=1,
    decision_id="dec_0123456789abcdef",
    operation=Operation.HEAD_MANIFEST,
    workspace="acme",
    install="shop",
    registry="ghcr.io",
    repository="acme/app",
    reference="1.0",
    client_address="10.0.0.7",
    user_agent="containerd/2.1",
)
REFUSED = AuditOutcome("evt_1", 2, Result.REFUSED, gate="install", reason="install-revoked", detail="install shop is revoked")


@pytest.fixture
def index() -> ResourceIndex:
    index = ResourceIndex()
    credential = {"registry": "ghcr.io", "type": "Token", "secretName": "ghcr"}
    for made in (
        manifest("Install", "shop", {"repositories": ["ghcr.io/a"]}),
        manifest("RegistryCredential", "ghcr", credential),
    ):
        resource = resource_from_manifest(made)
        assert resource is not None
        index.put(resource)
    return index


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def events(index: ResourceIndex, told: Told) -> PullEvents:
    return PullEvents(index, told)


def test_a_refusal_says_what_kubelet_said_elsewhere(events: PullEvents, told: Told) -> None:
    events.observe(EVENT, REFUSED)
    (found,) = told.occurrences
    assert (str(found.regarding), found.reason, found.action, found.warning) == ("Install acme/shop", "PullRefused", "Pull", True)
    for part in ("ghcr.io/acme/app:1.0", "install shop is revoked", "install-revoked", "dec_0123456789abcdef"):
        assert part in found.note
    assert "10.0.0.7 containerd/2.1" in found.note
    events.observe(replace(EVENT, reference="2.0", decision_id="dec_2"), REFUSED)
    assert told.occurrences[0].series == told.occurrences[1].series


@pytest.mark.parametrize(
    ("event", "outcome", "same"),
    [
        ({"reference": "2.0"}, {}, True),
        ({"operation": Operation.PULL_BLOB, "reference": "sha256:" + "a" * 64}, {}, True),
        ({"registry": "quay.io"}, {}, False),
        ({"repository": "acme/other"}, {}, False),
        ({}, {"detail": "install shop is expired"}, False),
        ({}, {"reason": str(Reason.INSTALL_EXPIRED)}, False),
    ],
)
def test_what_is_alike_has_upstream_image_and_cause_in_common(
    events: PullEvents, told: Told, event: dict[str, Any], outcome: dict[str, Any], same: bool
) -> None:
    events.observe(EVENT, REFUSED)
    events.observe(replace(EVENT, **event), replace(REFUSED, **outcome))
    assert (told.occurrences[0].series == told.occurrences[1].series) is same


def test_amounts_that_differ_each_time_make_no_other_cause(events: PullEvents, told: Told) -> None:
    for seconds, status in ((17, 500), (23.5, 500), (17, 503)):
        detail = f"answered {status}; the state was last proven current {seconds} s ago"
        events.observe(EVENT, replace(REFUSED, detail=detail))
    first, second, third = (item.series for item in told.occurrences)
    assert first == second != third


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        ({"install": "", "workspace": ""}, {}),  # a stranger
        ({"install": "gone"}, {}),
        ({"workspace": "other"}, {}),
        ({"operation": Operation.ADMISSION}, {"result": Result.ALLOWED, "reason": ""}),
        ({}, {"result": Result.ALLOWED, "reason": ""}),
        ({}, {"result": Result.FAILED, "reason": str(Reason.CLIENT_CLOSED)}),
        ({}, {"reason": str(Reason.SCOPE_INSUFFICIENT)}),
        ({"operation": Operation.LIST_REFERRERS}, {"result": Result.FAILED, "reason": str(Reason.UPSTREAM_NOT_FOUND)}),
    ],
)
def test_what_makes_no_event(events: PullEvents, told: Told, event: dict[str, Any], outcome: dict[str, Any]) -> None:
    events.observe(replace(EVENT, **event), replace(REFUSED, **outcome))
    assert told.occurrences == []


@pytest.mark.parametrize("reason", [Reason.UPSTREAM_UNAUTHORIZED, Reason.UPSTREAM_DENIED])
def test_a_login_that_the_upstream_refuses_is_told_at_the_credential_too(events: PullEvents, told: Told, reason: Reason) -> None:
    failed = replace(REFUSED, result=Result.FAILED, gate="upstream", reason=str(reason), detail="no", credential="ghcr")
    events.observe(EVENT, failed)
    install, credential = told.occurrences
    assert (install.reason, install.regarding.name) == ("PullFailed", "shop")
    assert (credential.reason, str(credential.regarding)) == ("UpstreamRefused", "RegistryCredential acme/ghcr")
    assert "pulled by install shop" in credential.note
    assert "akua credential test ghcr" in credential.note
    events.observe(EVENT, replace(failed, credential="gone"))
    assert len(told.occurrences) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reference": "sha256:" + "a" * 64}, "ghcr.io/acme/app@sha256:aaa"),
        ({"registry": "", "operation": Operation.TOKEN}, "a token was asked for"),
        ({"registry": "", "operation": Operation.PING}, "a login"),
        ({"client_address": "", "user_agent": "x" * 500}, "an unknown address " + "x" * 63),
    ],
)
def test_what_is_not_there_is_said(events: PullEvents, told: Told, changes: dict[str, Any], says: str) -> None:
    events.observe(replace(EVENT, **changes), REFUSED)
    assert says in told.occurrences[0].note
    assert len(told.occurrences[0].note) < 600


def test_a_stream_that_was_cut_is_told(events: PullEvents, told: Told) -> None:
    events.observe(EVENT, replace(REFUSED, result=Result.CUT))
    assert told.occurrences[0].reason == "PullCut"


def test_in_a_cluster_the_hints_are_for_a_person_with_kubectl(index: ResourceIndex, told: Told) -> None:
    failed = replace(REFUSED, result=Result.FAILED, gate="upstream", reason=str(Reason.UPSTREAM_DENIED), credential="ghcr")
    PullEvents(index, told, in_cluster=True).observe(EVENT, failed)
    install, credential = (each.note for each in told.occurrences)
    assert "`kubectl -n akua-system exec deploy/akua-proxy -- akua audit list --install shop`" in install
    assert "`AKUA_STATE=kubernetes akua credential test ghcr --workspace acme`" in credential

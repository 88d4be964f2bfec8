"""Pods beside pulls: what admission writes into the audit trail, and that no review waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from programs.telemetry import Telemetry
from registry_access.audit.interface import AuditQuery
from registry_access.audit.repeats import Rate
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result
from registry_access.model.errors import AuditUnavailable
from registry_access.model.resources import PullGrant
from registry_access.model.resources.metadata import INSTALL_WORKSPACE_LABEL
from tests.support import builders
from webhook.admission import audit
from webhook.admission.audit import REVIEW_MAXIMUM, AdmissionAudit, admission_events
from webhook.admission.review import AdmissionRequest
from webhook.admission.rewriting import Rewriting, rewrite_pod


def grant(install: str, *images: str) -> PullGrant:
    return builders.grant(install, namespace="shop-prod", labels={INSTALL_WORKSPACE_LABEL: "acme"}, images=list(images))


def review(*grants: PullGrant, **metadata: Any) -> tuple[AdmissionRequest, Rewriting]:
    containers = [{"name": "web", "image": "ghcr.io/acme/app:1"}, {"name": "side", "image": "ghcr.io/acme/app:1"}]
    pod = {"metadata": metadata, "spec": {"containers": [*containers, {"name": "other", "image": "redis"}]}}
    asked = AdmissionRequest("uid", "CREATE", "", "shop-prod", "Pod", pod, {}, False)
    return asked, rewrite_pod(pod, {}, "CREATE", "", grants)


def test_one_event_for_each_image_and_install() -> None:
    owner = {"kind": "ReplicaSet", "name": "shop-5d9", "controller": True}
    owners = [{"kind": "X", "name": "y"}, owner]
    events = list(admission_events(*review(grant("shop", "ghcr.io/acme/*"), generateName="shop-5d9-", ownerReferences=owners), 7))
    assert [(event.install, event.workspace, event.repository, event.reference) for event in events] == [
        ("shop", "acme", "acme/app", "1")
    ]
    assert (events[0].pod, events[0].owner, events[0].time) == ("shop-prod/shop-5d9-*", "ReplicaSet/shop-5d9", 7)
    both = list(admission_events(*review(grant("shop", "ghcr.io/acme/*"), grant("kiosk", "ghcr.io/acme/app"), name="p"), 7))
    assert sorted(event.install for event in both) == ["kiosk", "shop"]
    assert {event.pod for event in both} == {"shop-prod/p"}


@pytest.fixture
async def trail(tmp_path: Path) -> AsyncIterator[SqlAuditTrail]:
    opened = SqlAuditTrail(f"sqlite:///{tmp_path / 'audit.db'}")
    await opened.start()
    yield opened
    await opened.stop()


async def test_they_are_in_the_trail_when_it_stops(trail: SqlAuditTrail) -> None:
    observer = AdmissionAudit(trail, Telemetry())
    running = asyncio.create_task(observer.run())
    await asyncio.sleep(0)
    for number in range(120):
        observer(*review(grant("shop", "ghcr.io/acme/*"), name=f"pod-{number}"))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    rows = (await trail.query(AuditQuery(install="shop", operation=str(Operation.ADMISSION), limit=1000))).rows
    assert len(rows) == 120
    assert {row.outcome.result for row in rows if row.outcome} == {Result.ALLOWED}
    assert (await trail.verify()).ok


async def test_what_finds_no_room_or_no_trail_is_counted(monkeypatch: pytest.MonkeyPatch, trail: SqlAuditTrail) -> None:
    telemetry = Telemetry()
    monkeypatch.setattr(audit, "_QUEUED_MAXIMUM", 2)

    async def refuse(*_: object) -> None:
        raise AuditUnavailable("the disk is full")

    monkeypatch.setattr(trail, "record", refuse)
    observer = AdmissionAudit(trail, telemetry)
    for _ in range(5):
        observer(*review(grant("shop", "ghcr.io/acme/*"), name="p"))
    running = asyncio.create_task(observer.run())
    await asyncio.sleep(0.05)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert b"akua_admission_audit_drops_total 5.0" in telemetry.exposition()


async def test_admissions_wait_for_a_trail_that_is_away(monkeypatch: pytest.MonkeyPatch, trail: SqlAuditTrail) -> None:
    telemetry = Telemetry()
    record, away = trail.record, [True]
    tried = asyncio.Event()

    async def recording(*given: Any) -> None:
        tried.set()
        if away:
            raise AuditUnavailable("the database is away")
        await record(*given)

    monkeypatch.setattr(trail, "record", recording)
    observer = AdmissionAudit(trail, telemetry, retry=0.01)
    running = asyncio.create_task(observer.run())
    observer(*review(grant("shop", "ghcr.io/acme/*"), name="first"))
    await tried.wait()
    for number in range(60):
        observer(*review(grant("shop", "ghcr.io/acme/*"), name=f"later-{number}"))
    away.clear()
    async with asyncio.timeout(10):
        while len((await trail.query(AuditQuery(limit=1000))).rows) < 61:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len((await trail.query(AuditQuery(limit=1000))).rows) == 61
    assert b"akua_admission_audit_drops_total 0.0" in telemetry.exposition()


async def test_a_record_that_the_trail_refuses_keeps_no_other_out(monkeypatch: pytest.MonkeyPatch, trail: SqlAuditTrail) -> None:
    telemetry = Telemetry()
    record = trail.record

    async def recording(event: AuditEvent, outcome: AuditOutcome) -> None:
        if event.pod.endswith("/bad"):
            raise AuditUnavailable("not this one", permanent=True)
        await record(event, outcome)

    monkeypatch.setattr(trail, "record", recording)
    observer = AdmissionAudit(trail, telemetry, retry=3600)
    for name in ("bad", "good"):
        observer(*review(grant("shop", "ghcr.io/acme/*"), name=name))
    running = asyncio.create_task(observer.run())
    async with asyncio.timeout(10):
        while not (rows := (await trail.query(AuditQuery())).rows):
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [row.event.pod for row in rows] == ["shop-prod/good"]
    assert b"akua_admission_audit_drops_total 1.0" in telemetry.exposition()


async def test_no_pod_and_no_namespace_fills_the_trail(trail: SqlAuditTrail) -> None:
    observer = AdmissionAudit(trail, Telemetry(), Rate(0.0, 60.0))
    running = asyncio.create_task(observer.run())
    await asyncio.sleep(0)
    containers = [{"name": f"c{number}", "image": f"ghcr.io/acme/app:{number}"} for number in range(500)]
    pod = {"metadata": {"name": "large"}, "spec": {"containers": containers}}
    asked = AdmissionRequest("uid", "CREATE", "", "shop-prod", "Pod", pod, {}, False)
    observer(asked, rewrite_pod(pod, {}, "CREATE", "", [grant("shop", "ghcr.io/acme/*")]))
    for number in range(100):
        observer(*review(grant("shop", "ghcr.io/acme/*"), name=f"pod-{number}"))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    rows = (await trail.query(AuditQuery(limit=1000))).rows
    assert len(rows) == REVIEW_MAXIMUM + 10 + 1
    assert sum(row.outcome.count for row in rows if row.outcome) == 600


async def test_a_bug_ends_no_recording(trail: SqlAuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    observer = AdmissionAudit(trail, Telemetry())
    record, bugs = trail.record, [RuntimeError("a bug")]

    async def recording(*given: Any) -> None:
        if bugs:
            raise bugs.pop()
        await record(*given)

    monkeypatch.setattr(trail, "record", recording)
    task = asyncio.create_task(observer.run())
    observer(*review(grant("shop", "ghcr.io/acme/*"), name="first"))
    while bugs:
        await asyncio.sleep(0.005)
    observer(*review(grant("shop", "ghcr.io/acme/*"), name="second"))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    rows = (await trail.query(AuditQuery())).rows
    assert [row.event.pod for row in rows] == ["shop-prod/second"]

"""`akua audit list` as a stranger reads it: admitted pods beside the pulls of their nodes, each refusal with its decision."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result
from tests.unit.cli.conftest import Akua

ADMITTED = AuditEvent(
    id="evt_1",
    time=1_800_000_000_000,
    decision_id="dec_00000000000000a1",
    operation=Operation.ADMISSION,
    workspace="acme",
    install="shop",
    registry="ghcr.io",
    repository="acme/app",
    reference="1.0",
    pod="shop-prod/web-*",
    owner="ReplicaSet/web-5d9",
)
PULLED = replace(
    ADMITTED,
    id="evt_2",
    decision_id="dec_00000000000000b2",
    operation=Operation.PULL_MANIFEST,
    pod="",
    owner="",
    client_address="10.0.0.7",
    user_agent="containerd/2.1.0 (linux; amd64)",
)
REFUSED = replace(PULLED, id="evt_3", decision_id="dec_00000000000000c3", reference="sha256:" + "a" * 64)


@pytest.fixture
def trail(tmp_path: Path) -> None:
    async def write() -> None:
        made = SqlAuditTrail(f"sqlite:///{tmp_path / 'audit.db'}", writer="test")
        await made.start()
        await made.record(ADMITTED, AuditOutcome("evt_1", ADMITTED.time, Result.ALLOWED))
        await made.record(PULLED, AuditOutcome("evt_2", PULLED.time, Result.ALLOWED, bytes=1234))
        refused = AuditOutcome("evt_3", REFUSED.time, Result.REFUSED, gate="install", reason="install-revoked")
        await made.record(REFUSED, refused)
        await made.stop()

    asyncio.run(write())


@pytest.mark.usefixtures("trail")
def test_pods_stand_beside_pulls(akua: Akua) -> None:
    header, refused, pulled, admitted = akua("audit", "list", "--install", "shop").out.splitlines()
    assert header.split() == ["TIME", "INSTALL", "OPERATION", "IMAGE", "RESULT", "REASON", "BYTES", "WHO"]
    assert "admitted" in admitted
    assert admitted.rstrip().endswith("shop-prod/web-* of ReplicaSet/web-5d9")
    assert pulled.rstrip().endswith("1,234   10.0.0.7 containerd/2.1.0")
    assert "install-revoked dec_00000000000000c3" in refused
    assert "ghcr.io/acme/app@sha256:aaaaaaaaaaaa…" in refused


@pytest.mark.usefixtures("trail")
def test_a_decision_that_somebody_quotes_is_found(akua: Akua) -> None:
    (found,) = akua("audit", "list", "--decision", "dec_00000000000000c3", "-o", "json").document
    assert (found["event_id"], found["result"]) == ("evt_3", "refused")
    for nothing in ("dec_", "%", "dec_0000000000000000"):
        assert akua("audit", "list", "--decision", nothing, "-o", "json").document == []


@pytest.mark.usefixtures("trail")
def test_admissions_alone(akua: Akua) -> None:
    (found,) = akua("audit", "list", "--operation", "admission", "-o", "json").document
    assert (found["pod"], found["owner"]) == ("shop-prod/web-*", "ReplicaSet/web-5d9")

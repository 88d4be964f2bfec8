"""`akua audit list` as a stranger reads it: admitted pods beside the pulls of their nodes, each refusal with its decision."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
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


FORMULAS = ('=HYPERLINK("http://evil","x")', "+1+1", "-2+3", "@SUM(A1)", "\uff1dcmd", " =1+1", "a;=1+1", "a\t=1")


def test_a_spreadsheet_runs_nothing_that_a_client_wrote(akua: Akua, tmp_path: Path) -> None:
    async def write() -> None:
        made = SqlAuditTrail(f"sqlite:///{tmp_path / 'audit.db'}", writer="test")
        await made.start()
        for number, text in enumerate(FORMULAS):
            event = replace(PULLED, id=f"evt_{number}", time=number, user_agent=text, reference=text)
            await made.record(event, AuditOutcome(event.id, number, Result.REFUSED, detail=text, bytes=-5))
        await made.stop()

    asyncio.run(write())
    rows = list(csv.DictReader(io.StringIO(akua("audit", "export", "--format", "csv").out)))
    assert len(rows) == len(FORMULAS)
    for row in rows:
        for name in ("user_agent", "reference", "detail"):
            assert not re.search(r"(^|[;,\t|])\s*[=+\-@\uff1d]", row[name]), row[name]
    exact = [json.loads(line)["detail"] for line in akua("audit", "export").out.splitlines()]
    assert set(exact) == {text.replace("\t", "\\x09") for text in FORMULAS}


def test_what_is_counted_together_says_how_many(akua: Akua, tmp_path: Path) -> None:
    async def write() -> None:
        made = SqlAuditTrail(f"sqlite:///{tmp_path / 'audit.db'}", writer="test")
        await made.start()
        await made.record(REFUSED, AuditOutcome("evt_3", REFUSED.time, Result.REFUSED, reason="install-revoked", count=1234))
        await made.stop()

    asyncio.run(write())
    assert "refused x1,234" in akua("audit", "list").out
    assert akua("audit", "list", "-o", "json").document[0]["count"] == 1234


@pytest.mark.usefixtures("trail")
def test_verify_names_one_head_however_many_processes_have_lived(akua: Akua, tmp_path: Path) -> None:
    async def live(name: str) -> None:
        made = SqlAuditTrail(f"sqlite:///{tmp_path / 'audit.db'}", writer=name)
        await made.start()
        await made.begin(replace(PULLED, id=f"evt_of_{name}"))
        await made.stop()

    for name in ("a", "b", "c"):
        asyncio.run(live(name))
    proven, head = akua("audit", "verify").out.splitlines()
    assert proven.endswith("9 records in 4 chains, every one in its place")
    assert re.fullmatch(r"  head of the register: 4:[0-9a-f]{64}", head)
    assert set(akua("audit", "verify", "-o", "json").document["heads"]) == {"test", "a", "b", "c"}
    kept = head.removeprefix("  head of the register: ")
    assert akua("audit", "verify", "--head", kept).code == 0
    forged = akua("audit", "verify", "--head", kept[:-1] + ("0" if kept[-1] != "0" else "1"))
    assert (forged.code, "the register does not hold the head" in forged.out) == (1, True)
    assert akua("audit", "verify", "--head", "nonsense").code == 2


@pytest.mark.parametrize(
    ("state", "words"),
    [("kubernetes", "kubectl -n akua-system exec deploy/akua-proxy -- akua audit list"), ("", "start `akua serve` to create it")],
)
@pytest.mark.parametrize("command", ["list", "tail", "verify", "export"])
def test_a_trail_that_is_elsewhere_is_one_sentence(
    akua: Akua, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, words: str, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if state:
        monkeypatch.setenv("AKUA_STATE", state)
    ran = akua("audit", command, folder=False)
    assert ran.code == 1
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.usefixtures("trail")
def test_a_copy_is_verified_and_its_dsn_may_come_from_standard_input(akua: Akua, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'copy.db'}"
    ran = akua("audit", "copy", "--to", "-", stdin=target + "\n")
    assert ran.code == 0, ran.err
    assert "6 records copied; 6 there, every one in its place" in ran.out
    assert "0 records copied; 6 there" in akua("audit", "copy", "--to", target).out
    refused = akua("audit", "copy", "--to", "mysql://u:canary@h/d")
    assert (refused.code, "canary" in refused.err) == (2, False)

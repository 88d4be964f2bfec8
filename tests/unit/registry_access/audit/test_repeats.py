"""Nobody fills the trail: beyond a source's budget, like records become one row with a count."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from registry_access.audit.interface import AuditQuery, AuditRow
from registry_access.audit.repeats import GROUP_SHARE, KINDS_MAXIMUM, UNKNOWN, Rate, Repeats
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.audit_event import AuditEvent, AuditOutcome
from registry_access.model.errors import AuditUnavailable
from tests.support.audit_conformance import refused

SHOP = ("acme", "uid-shop")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def trail(tmp_path: Path) -> AsyncIterator[SqlAuditTrail]:
    opened = SqlAuditTrail(f"sqlite:///{tmp_path / 'audit.db'}")
    await opened.start()
    yield opened
    await opened.stop()


async def outcomes(trail: SqlAuditTrail) -> list[AuditOutcome]:
    return [row.outcome for row in (await trail.query(AuditQuery(limit=1000))).rows if row.outcome]


async def test_a_storm_of_refusals_is_a_few_rows_and_every_one_is_counted(trail: SqlAuditTrail) -> None:
    folded: list[None] = []
    repeats = Repeats(trail, Rate(1.0, 10.0), Clock(), lambda: folded.append(None))
    for number in range(1000):
        await repeats.record(SHOP, *refused(time=1000 + number, repository=f"acme/app-{number % 3}"))
    assert len(await outcomes(trail)) == 10
    await repeats.flush()
    rows = await outcomes(trail)
    assert len(rows) == 13
    assert sum(each.count for each in rows) == 1000
    assert len(folded) == 990


async def test_a_budget_fills_again_and_is_each_sources_own(trail: SqlAuditTrail) -> None:
    clock = Clock()
    repeats = Repeats(trail, Rate(1.0, 2.0), clock)
    for _ in range(5):
        await repeats.record(SHOP, *refused())
    await repeats.record(("acme", "uid-blog"), *refused(install="blog"))
    assert len(await outcomes(trail)) == 3
    clock.now = 1.0
    await repeats.record(SHOP, *refused())
    assert len(await outcomes(trail)) == 4


async def test_ever_new_names_make_no_more_rows(trail: SqlAuditTrail) -> None:
    repeats = Repeats(trail, Rate(0.0, 0.0), Clock())
    for number in range(3 * KINDS_MAXIMUM):
        await repeats.record(SHOP, *refused(repository=f"acme/{number}"))
        await repeats.record(UNKNOWN, *refused(install="", workspace="", repository=f"acme/{number}"))
    await repeats.flush()
    rows = await outcomes(trail)
    assert len(rows) <= KINDS_MAXIMUM + 2
    assert sum(each.count for each in rows) == 6 * KINDS_MAXIMUM


async def test_what_cannot_be_written_is_kept(trail: SqlAuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    repeats = Repeats(trail, Rate(0.0, 0.0), Clock())
    await repeats.record(SHOP, *refused())
    with monkeypatch.context() as failing:

        async def refuse(*_: object) -> None:
            repeats.hold(SHOP, *refused())
            raise AuditUnavailable("the disk is full")

        failing.setattr(trail, "record", refuse)
        await repeats.flush()
    await repeats.stop()
    assert [each.count for each in await outcomes(trail)] == [2]


async def test_the_last_of_its_like_says_when_it_ended(trail: SqlAuditTrail) -> None:
    repeats = Repeats(trail, Rate(0.0, 0.0), Clock())
    event, outcome = refused()
    await repeats.record(SHOP, event, outcome)
    await repeats.record(SHOP, replace(event, id="evt_2"), replace(outcome, event_id="evt_2", time=outcome.time + 500))
    await repeats.flush()
    ((row,),) = [(await trail.query(AuditQuery())).rows]
    assert row.outcome is not None
    assert (row.event.id, row.outcome.event_id, row.outcome.time, row.outcome.count) == (
        event.id,
        event.id,
        outcome.time + 500,
        2,
    )


async def test_however_many_installs_a_workspace_has_they_have_one_budget_together(trail: SqlAuditTrail) -> None:
    repeats = Repeats(trail, Rate(0.0, 2.0), Clock())
    for number in range(200):
        for _ in range(2):
            await repeats.record(("acme", f"uid-{number}"), *refused(install=f"shop-{number}"))
    assert len(await outcomes(trail)) == 2 * GROUP_SHARE
    await repeats.record(("globex", "uid-blog"), *refused(workspace="globex", install="blog"))
    assert len(await outcomes(trail)) == 2 * GROUP_SHARE + 1
    assert sum(repeats.takes(f"namespace-{number}") for number in range(100)) == 100


async def test_no_row_counts_what_another_workspace_did(trail: SqlAuditTrail) -> None:
    repeats = Repeats(trail, Rate(0.0, 0.0), Clock())
    for number in range(4 * KINDS_MAXIMUM):
        await repeats.record(("acme", f"uid-{number}"), *refused(install=f"shop-{number}", install_uid=f"uid-{number}"))
    for _ in range(3):
        await repeats.record(("globex", "uid-blog"), *refused(workspace="globex", install="blog", install_uid="uid-blog"))
    await repeats.flush()
    rows: list[AuditRow] = []
    page = await trail.query(AuditQuery(limit=1000))
    while page.rows:
        rows += page.rows
        page = await trail.query(AuditQuery(limit=1000, before=page.next_before)) if page.next_before else replace(page, rows=())
    counted = [(row.event.workspace, row.event.install, row.outcome.count) for row in rows if row.outcome]
    assert sum(count for workspace, _, count in counted if workspace == "acme") == 4 * KINDS_MAXIMUM
    assert [each for each in counted if each[0] == "globex"] == [("globex", "", 3)]
    assert len(counted) <= 2 * KINDS_MAXIMUM + 2


async def test_a_row_that_the_trail_never_takes_holds_up_no_other(trail: SqlAuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    record = trail.record

    async def recording(event: AuditEvent, outcome: AuditOutcome) -> None:
        if event.repository == "acme/bad":
            raise AuditUnavailable("not this one", permanent=True)
        await record(event, outcome)

    monkeypatch.setattr(trail, "record", recording)
    repeats = Repeats(trail, Rate(0.0, 0.0), Clock())
    for repository in ("acme/bad", "acme/good"):
        await repeats.record(SHOP, *refused(repository=repository))
    await repeats.flush()
    assert [row.event.repository for row in (await trail.query(AuditQuery())).rows] == ["acme/good"]

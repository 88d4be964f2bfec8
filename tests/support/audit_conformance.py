"""What every audit trail must do, whatever it writes to. An adapter's test module subclasses this."""

from __future__ import annotations

import asyncio
import dataclasses
import json

from registry_access.audit.interface import AuditQuery, AuditTrail
from registry_access.model.audit_event import RECORD_MAXIMUM, AuditEvent, AuditOutcome, Operation, Result, new_event_id


def event(**changes: object) -> AuditEvent:
    base = AuditEvent(
        id=new_event_id(),
        time=1_800_000_000_000,
        decision_id="dec_1",
        operation=Operation.PULL_BLOB,
        workspace="acme",
        install="shop",
        registry="ghcr.io",
        repository="acme/app",
        reference="sha256:aa",
        client_address="127.0.0.1",
        user_agent="containerd/2.1",
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def outcome(of: AuditEvent, **changes: object) -> AuditOutcome:
    base = AuditOutcome(of.id, of.time + 5, Result.ALLOWED, status=200, bytes=10, duration=5)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def recorded(result: Result, **changes: object) -> tuple[AuditEvent, AuditOutcome]:
    """An event and its outcome; `changes` of either."""
    names = {field.name for field in dataclasses.fields(AuditEvent)}
    happened = event(**{name: value for name, value in changes.items() if name in names})
    return happened, outcome(happened, result=result, **{name: value for name, value in changes.items() if name not in names})


def refused(**changes: object) -> tuple[AuditEvent, AuditOutcome]:
    """A refusal of ours."""
    return recorded(Result.REFUSED, gate="install", reason="install-revoked", status=403, **changes)


async def settled(trail: AuditTrail) -> None:
    while trail.lag():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)


class AuditConformance:
    """Subclasses give a started `trail`, and `reopened`: opens the same trail again, as another process would."""

    async def test_an_intent_stands_alone_until_its_outcome_comes(self, trail: AuditTrail) -> None:
        pulled = event()
        await trail.begin(pulled)
        (row,) = (await trail.query(AuditQuery())).rows
        assert row.event == pulled
        assert row.outcome is None
        trail.finish(outcome(pulled))
        await settled(trail)
        (row,) = (await trail.query(AuditQuery())).rows
        assert row.outcome == outcome(pulled)

    async def test_a_refusal_is_recorded_with_its_reason(self, trail: AuditTrail) -> None:
        asked = event()
        refusal = outcome(
            asked, result=Result.REFUSED, gate="entitlement", reason="not-entitled", detail="no", status=403, bytes=0
        )
        await trail.record(asked, refusal)
        (row,) = (await trail.query(AuditQuery(result=Result.REFUSED))).rows
        assert row.outcome == refusal
        assert (await trail.query(AuditQuery(result=Result.ALLOWED))).rows == ()

    async def test_recording_twice_is_recording_once(self, trail: AuditTrail) -> None:
        pulled = event()
        await trail.begin(pulled)
        await trail.begin(pulled)
        trail.finish(outcome(pulled))
        trail.finish(outcome(pulled))
        await trail.record(event(), outcome(event()))
        await settled(trail)
        assert len((await trail.query(AuditQuery(install="shop"))).rows) == 2
        assert (await trail.verify()).ok

    async def test_rows_are_filtered_and_paged(self, trail: AuditTrail) -> None:
        for number in range(5):
            await trail.begin(event(install="shop" if number % 2 else "blog", time=1000 + number, reference=str(number)))
        first = await trail.query(AuditQuery(limit=2))
        assert [row.event.reference for row in first.rows] == ["4", "3"]
        second = await trail.query(AuditQuery(limit=2, before=first.next_before))
        assert [row.event.reference for row in second.rows] == ["2", "1"]
        last = await trail.query(AuditQuery(limit=2, before=second.next_before))
        assert [row.event.reference for row in last.rows] == ["0"]
        assert last.next_before is None
        assert [row.event.reference for row in (await trail.query(AuditQuery(install="shop"))).rows] == ["3", "1"]
        assert [row.event.reference for row in (await trail.query(AuditQuery(since=1003))).rows] == ["4", "3"]
        assert [row.event.reference for row in (await trail.query(AuditQuery(until=1001))).rows] == ["0"]
        assert (await trail.query(AuditQuery(registry="docker.io"))).rows == ()
        assert len((await trail.query(AuditQuery(decision="dec_1"))).rows) == 5
        assert (await trail.query(AuditQuery(decision="dec_"))).rows == ()

    async def test_many_at_once_are_all_committed_in_one_chain(self, trail: AuditTrail) -> None:
        await asyncio.gather(*(trail.begin(event()) for _ in range(300)))
        report = await trail.verify()
        assert (report.ok, report.records) == (True, 300)

    async def test_what_clients_send_cannot_forge_a_line(self, trail: AuditTrail) -> None:
        await trail.begin(event(user_agent="a\r\nresult=allowed\x00\ud800" + "x" * 2000))
        (row,) = (await trail.query(AuditQuery())).rows
        assert row.event.user_agent.startswith("a\\x0d\\x0aresult=allowed\\x00\\ud800x")
        assert len(row.event.user_agent) == 512

    async def test_following_brings_rows_as_they_finish(self, trail: AuditTrail) -> None:
        await trail.begin(event(reference="before"))
        rows = trail.follow(AuditQuery(install="shop"))
        coming = asyncio.ensure_future(anext(rows))
        await asyncio.sleep(0.4)
        pulled = event(reference="now")
        await trail.begin(pulled)
        await trail.begin(event(install="blog"))
        trail.finish(outcome(pulled))
        row = await asyncio.wait_for(coming, 5)
        assert row.event.reference == "now"

    async def test_the_chain_goes_on_after_a_restart(self, trail: AuditTrail, reopened: AuditTrail) -> None:
        await trail.begin(event())
        await trail.stop()
        await reopened.start()
        await reopened.begin(event())
        report = await reopened.verify()
        assert (report.ok, report.records) == (True, 2)
        await reopened.stop()

    async def test_stopping_writes_what_is_queued(self, trail: AuditTrail, reopened: AuditTrail) -> None:
        pulled = event()
        await trail.begin(pulled)
        trail.finish(outcome(pulled))
        await trail.stop()
        await reopened.start()
        (row,) = (await reopened.query(AuditQuery())).rows
        assert row.outcome is not None
        await reopened.stop()

    async def test_two_writers_of_one_name_take_turns_in_one_chain(self, trail: AuditTrail, reopened: AuditTrail) -> None:
        """As when a commit of a killed process lands after its successor has read the head."""
        await reopened.start()
        for _ in range(3):
            await trail.begin(event())
            await reopened.begin(event())
        report = await trail.verify()
        assert (report.ok, report.records, report.chains) == (True, 6, 1)
        await reopened.stop()

    async def test_a_live_trail_gives_no_false_alarm(self, trail: AuditTrail, reopened: AuditTrail) -> None:
        await reopened.start()
        writing = True

        async def write(into: AuditTrail) -> None:
            while writing:
                await into.record(*refused())

        writers = [asyncio.create_task(write(each)) for each in (trail, trail, reopened)]
        for _ in range(10):
            assert (await trail.verify()).problem == ""
        writing = False
        await asyncio.gather(*writers)
        await reopened.stop()

    async def test_a_refusal_is_found_by_who_and_what_and_when(self, trail: AuditTrail) -> None:
        for install, repository in (("shop", "acme/app"), ("blog", "acme/app"), ("blog", "acme/web")):
            await trail.record(*refused(install=install, repository=repository))
            await trail.record(*recorded(Result.ALLOWED, install=install, repository=repository))
        refusals = AuditQuery(result=Result.REFUSED)
        assert len((await trail.query(refusals)).rows) == 3
        for query, count in (
            (dataclasses.replace(refusals, install="blog"), 2),
            (dataclasses.replace(refusals, workspace="acme", install="blog", repository="acme/web"), 1),
            (dataclasses.replace(refusals, workspace="other"), 0),
            (dataclasses.replace(refusals, operation="pull-blob", registry="ghcr.io"), 3),
            (dataclasses.replace(refusals, decision="dec_1", install="shop"), 1),
            (dataclasses.replace(refusals, decision="dec_2"), 0),
            (dataclasses.replace(refusals, until=event().time), 0),
            (dataclasses.replace(refusals, since=event().time, until=event().time + 1), 3),
        ):
            assert len((await trail.query(query)).rows) == count, query

    async def test_an_outcome_that_came_late_is_paged_by_when_its_event_began(self, trail: AuditTrail) -> None:
        events = [event(time=1000 + number, reference=str(number)) for number in range(4)]
        for each in events:
            await trail.begin(each)
        for each in reversed(events):
            trail.finish(outcome(each, result=Result.CUT))
        await settled(trail)
        seen, before = [], None
        while True:
            page = await trail.query(AuditQuery(result=Result.CUT, limit=1, before=before))
            seen += [row.event.reference for row in page.rows]
            if (before := page.next_before) is None:
                break
        assert seen == ["3", "2", "1", "0"]

    async def test_what_the_upstream_refused_is_a_refusal_too(self, trail: AuditTrail) -> None:
        await trail.record(*recorded(Result.FAILED, gate="upstream", reason="upstream-denied", status=403))
        await trail.record(*recorded(Result.FAILED, gate="upstream", reason="upstream-failed", status=502))
        (row,) = (await trail.query(AuditQuery(result=Result.REFUSED))).rows
        assert row.outcome is not None
        assert (row.outcome.result, row.outcome.reason) == (Result.FAILED, "upstream-denied")
        assert len((await trail.query(AuditQuery(result=Result.FAILED))).rows) == 2
        rows = trail.follow(AuditQuery(result=Result.REFUSED, before=0))
        assert (await asyncio.wait_for(anext(rows), 5)).event == row.event

    async def test_the_largest_record_fits_and_every_column_takes_it(self, trail: AuditTrail) -> None:
        for character in ("x", '"', "\\", "é", "😀", "\x00", "\ud800"):
            names = ("workspace", "install", "registry", "repository", "reference", "user_agent", "pod", "owner", "token_id")
            large = event(**dict.fromkeys(names, character * 5000))
            await trail.record(large, outcome(large, detail=character * 5000, credential=character * 5000))
        rows = (await trail.query(AuditQuery())).rows
        assert len(rows) == 7
        for row in rows:
            assert len(json.dumps(dataclasses.asdict(row.event))) <= RECORD_MAXIMUM + 200  # with spaces
        assert (await trail.verify()).problem == ""

    async def test_repeats_are_one_row_with_a_count(self, trail: AuditTrail) -> None:
        await trail.record(*recorded(Result.REFUSED, count=300))
        (row,) = (await trail.query(AuditQuery())).rows
        assert row.outcome is not None
        assert row.outcome.count == 300

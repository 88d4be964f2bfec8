"""What every audit trail must do, whatever it writes to. An adapter's test module subclasses this."""

from __future__ import annotations

import asyncio
import dataclasses

from registry_access.audit.interface import AuditQuery, AuditTrail
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result, new_event_id


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

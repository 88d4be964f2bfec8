"""A trail of the first release: it is migrated, read, verified, and written on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config

from registry_access.audit.interface import AuditQuery
from registry_access.audit.sql import engine
from registry_access.audit.sql.indexes import OBSOLETE, READ_INDEXES
from registry_access.audit.sql.tables import GENESIS, canonical, legacy_hash
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Result, payload_of
from registry_access.model.errors import AuditUnavailable
from tests.support.audit_conformance import refused

COLUMNS = (
    "writer",
    "kind",
    "event_id",
    "time",
    "workspace",
    "install",
    "registry",
    "repository",
    "operation",
    "result",
    "payload",
    "previous_hash",
    "hash",
)


class FirstRelease:
    """Writes as the first release did: no numbers, an outcome without its event's labels."""

    def __init__(self, database: Path, writer: str = "akua-proxy-1") -> None:
        self._writer = writer
        self._head = GENESIS
        self._engine = sqlalchemy.create_engine(f"sqlite:///{database}")
        with self._engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(Path(engine.__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")

    def write(self, happened: AuditEvent, came: AuditOutcome) -> None:
        names = ("time", "workspace", "install", "registry", "repository", "operation")
        labels = {name: str(getattr(happened, name)) for name in names} | {"time": happened.time, "result": ""}
        empty = dict.fromkeys(names, "") | {"time": came.time, "result": str(came.result)}
        self._insert("intent", happened.id, labels, canonical(payload_of(happened)))
        self._insert("outcome", happened.id, empty, canonical(payload_of(came)))

    def _insert(self, kind: str, event_id: str, labels: dict[str, Any], payload: str) -> None:
        digest = legacy_hash(self._head, self._writer, kind, event_id, payload)
        row = {"writer": self._writer, "kind": kind, "event_id": event_id, **labels, "payload": payload}
        row |= {"previous_hash": self._head, "hash": digest}
        self._head = digest
        statement = f"INSERT INTO audit_records ({', '.join(COLUMNS)}) VALUES ({', '.join(':' + name for name in COLUMNS)})"  # noqa: S608
        with self._engine.begin() as connection:
            connection.execute(sqlalchemy.text(statement), row)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[FirstRelease]:
    release = FirstRelease(tmp_path / "audit.db")
    for number in range(3):
        release.write(*refused(reference=f"old-{number}", time=1000 + number, decision_id=f"dec_old{number}"))
    yield release
    release._engine.dispose()


async def test_old_records_are_listed_found_and_verified_beside_new_ones(old: FirstRelease, tmp_path: Path) -> None:
    trail = SqlAuditTrail(f"sqlite:///{tmp_path / 'audit.db'}", writer="akua-proxy-1")
    await trail.start()
    await trail.record(*refused(reference="new", time=2000))
    # A replica of the old release is still there during a rollout.
    old.write(*refused(reference="late", time=3000, install="blog"))

    refusals = AuditQuery(result=Result.REFUSED)
    assert [row.event.reference for row in (await trail.query(refusals)).rows] == ["late", "new", "old-2", "old-1", "old-0"]
    paged, before = [], None
    while True:
        page = await trail.query(AuditQuery(result=Result.REFUSED, limit=2, before=before))
        paged += [row.event.reference for row in page.rows]
        if (before := page.next_before) is None:
            break
    assert paged == ["late", "new", "old-2", "old-1", "old-0"]
    (found,) = (await trail.query(AuditQuery(decision="dec_old1"))).rows
    assert found.event.reference == "old-1"
    found_of_blog = (await trail.query(AuditQuery(result=Result.REFUSED, install="blog"))).rows
    assert [row.event.reference for row in found_of_blog] == ["late"]
    report = await trail.verify()
    assert (report.problem, report.records, report.chains) == ("", 10, 2)
    assert set(await trail.heads()) == {"akua-proxy-1"}
    await trail.stop()


async def test_every_index_is_made_and_those_of_before_are_gone(old: FirstRelease, tmp_path: Path) -> None:
    trail = SqlAuditTrail(f"sqlite:///{tmp_path / 'audit.db'}")
    await trail.start()
    await trail.stop()
    with old._engine.connect() as connection:
        made = {name for (name,) in connection.execute(sqlalchemy.text("SELECT name FROM sqlite_master WHERE type = 'index'"))}
    assert {index.name for index in READ_INDEXES} <= made
    assert not made & set(OBSOLETE)


@pytest.mark.usefixtures("old")
async def test_a_command_that_only_looks_says_that_the_trail_is_of_an_earlier_release(tmp_path: Path) -> None:
    trail = SqlAuditTrail(f"sqlite:///{tmp_path / 'audit.db'}", read_only=True)
    await trail.start()
    with pytest.raises(AuditUnavailable, match="of an earlier release"):
        await trail.query(AuditQuery(result=Result.REFUSED))
    await trail.stop()

"""A trail in another database is the same trail: listed, verified, and written on."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_access.audit.interface import AuditQuery
from registry_access.audit.sql.copying import copy_trail
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.errors import InvalidInput
from tests.support.audit_conformance import refused
from tests.unit.registry_access.audit.sql.test_migrations import FirstRelease


async def write(dsn: str, writer: str, *references: str) -> None:
    trail = SqlAuditTrail(dsn, writer=writer)
    await trail.start()
    for reference in references:
        await trail.record(*refused(reference=reference))
    await trail.stop()


async def test_a_copy_is_the_same_trail_and_goes_on(tmp_path: Path) -> None:
    source, target = f"sqlite:///{tmp_path / 'source.db'}", f"sqlite:///{tmp_path / 'target.db'}"
    FirstRelease(tmp_path / "source.db").write(*refused(reference="old", repository="x" * 300))
    await write(source, "one", "a", "b")
    assert await copy_trail(source, target) == 6
    await write(source, "two", "c")
    assert await copy_trail(source, target) == 2
    assert await copy_trail(source, target) == 0
    await write(target, "three", "d")

    trail = SqlAuditTrail(target, read_only=True)
    await trail.start()
    rows = (await trail.query(AuditQuery())).rows
    assert [row.event.reference for row in rows] == ["d", "c", "b", "a", "old"]
    report = await trail.verify()
    assert (report.problem, report.records, report.chains) == ("", 10, 4)
    await trail.stop()


async def test_two_trails_are_not_mixed(tmp_path: Path) -> None:
    source, target = f"sqlite:///{tmp_path / 'source.db'}", f"sqlite:///{tmp_path / 'target.db'}"
    await write(source, "one", "a")
    await write(target, "other", "b")
    with pytest.raises(InvalidInput, match="holds another audit trail"):
        await copy_trail(source, target)

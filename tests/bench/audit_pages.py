"""How long a page of a large trail takes, by each filter, and a new writer's first record (SQLite, or PostgreSQL by DSN).

    python -m tests.bench.audit_pages [MILLIONS] [DSN]

Records are written by SQL, as the product writes them but for their hashes, which no page reads.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import text

from registry_access.audit.interface import AuditQuery
from registry_access.audit.sql.engine import open_engine
from registry_access.audit.sql.indexes import ensure_indexes
from registry_access.audit.sql.trail import SqlAuditTrail
from registry_access.model.audit_event import Result, payload_of
from tests.support.audit_conformance import event, refused

WRITERS = 200
INSTALLS = 200
REPOSITORIES = 50
BUDGET = 300  # milliseconds
QUERIES = {
    "newest": AuditQuery(),
    "workspace": AuditQuery(workspace="ws-7"),
    "install": AuditQuery(install="install-7"),
    "install of a workspace": AuditQuery(workspace="ws-7", install="install-7"),
    "repository": AuditQuery(repository="acme/app-7"),
    "registry": AuditQuery(registry="ghcr.io"),
    "operation": AuditQuery(operation="admission"),
    "decision": AuditQuery(decision="dec_0000000000000777"),
    "refused": AuditQuery(result=Result.REFUSED),
    "refused, install": AuditQuery(result=Result.REFUSED, install="install-7"),
    "refused, repository": AuditQuery(result=Result.REFUSED, repository="acme/app-7"),
    "cut": AuditQuery(result=Result.CUT),
    "cut, workspace": AuditQuery(result=Result.CUT, workspace="ws-7"),
    "failed, long ago": AuditQuery(result=Result.FAILED, until=1_700_000_100_000),
    "allowed, install": AuditQuery(result=Result.ALLOWED, install="install-7"),
    "long ago": AuditQuery(until=1_700_000_100_000),
    "nothing fits": AuditQuery(workspace="nobody"),
}


def main() -> None:
    """Prints milliseconds for each filter: the first page, and one far behind it."""
    alone = len(sys.argv) > 1 and sys.argv[1].replace(".", "").isdigit()  # not named to `python -m tests.bench`
    millions = float(sys.argv[1]) if alone else 1.0
    with tempfile.TemporaryDirectory() as folder:
        dsn = sys.argv[2] if alone and len(sys.argv) > 2 else f"sqlite:///{Path(folder) / 'audit.db'}"
        asyncio.run(_measure(dsn, int(millions * 1_000_000)))


async def _measure(dsn: str, count: int) -> None:
    trail = SqlAuditTrail(dsn)
    await trail.start()
    began = time.perf_counter()
    await _fill(dsn, count)
    print(f"{count:,} records in {time.perf_counter() - began:.0f} s")
    print(f"{'milliseconds':<26}{'first page':>12}{'far behind':>12}")
    slowest = 0.0
    for name, query in QUERIES.items():
        first, page = await _timed(trail, query)
        far = 0.0
        if page.next_before is not None:
            behind = await trail.query(replace(query, limit=1000, before=page.next_before))
            far, _ = await _timed(trail, replace(query, before=behind.next_before or page.next_before))
        slowest = max(slowest, first, far)
        print(f"{name:<26}{first:>12.1f}{far:>12.1f}")
    fresh = SqlAuditTrail(dsn, writer="a-pod-that-nobody-knows")
    await fresh.start()
    began = time.perf_counter()
    await fresh.begin(event())
    print(f"{'a new writer begins':<26}{(time.perf_counter() - began) * 1000:>12.1f}")
    began = time.perf_counter()
    await trail.heads()
    print(f"{'all heads':<26}{(time.perf_counter() - began) * 1000:>12.1f}")
    await fresh.stop()
    await trail.stop()
    print(f"slowest page {slowest:.0f} ms; the budget is {BUDGET}")


async def _timed(trail: SqlAuditTrail, query: AuditQuery) -> tuple[float, Any]:
    """The best of three, in milliseconds."""
    best, page = float("inf"), None
    for _ in range(3):
        began = time.perf_counter()
        page = await trail.query(query)
        best = min(best, (time.perf_counter() - began) * 1000)
    return best, page


async def _fill(dsn: str, count: int) -> None:
    """Half intents, half outcomes: 90 % allowed, 6 % refused, 3 % failed, 1 % cut."""
    engine = open_engine(dsn)
    postgresql = engine.dialect.name == "postgresql"
    wanted, came = _payloads()
    series = (
        f"generate_series(1, {count // 2}) AS s(n)"
        if postgresql
        else f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count // 2}) SELECT n FROM s) AS s"  # noqa: S608
    )
    pad = "lpad(n::text, 16, '0')" if postgresql else "printf('%016d', n)"
    values = {
        "writer": f"'pod-' || (n % {WRITERS})",
        "number": f"n / {WRITERS} * 2",
        "event_id": "'evt_' || n",
        "workspace": "'ws-' || (n % 20)",
        "install": f"'install-' || (n % {INSTALLS})",
        "registry": "'ghcr.io'",
        "repository": f"'acme/app-' || (n % {REPOSITORIES})",
        "operation": "CASE WHEN n % 10000 = 0 THEN 'admission' ELSE 'pull-blob' END",
        "verdict": "CASE WHEN n % 100 < 90 THEN 'allowed' WHEN n % 100 < 96 THEN 'refused' "
        "WHEN n % 100 < 99 THEN 'failed' ELSE 'cut' END",
    }
    labels = f"{values['workspace']}, {values['install']}, {values['registry']}, {values['repository']}, {values['operation']}"
    columns = (
        "writer, number, kind, event_id, time, began, workspace, install, registry, repository, operation, result, verdict, "
        "payload, previous_hash, hash"
    )
    intent = (
        f"INSERT INTO audit_records ({columns}) SELECT {values['writer']}, {values['number']} + 1, 'intent', "  # noqa: S608
        f"{values['event_id']}, 1700000000000 + n * 10, NULL, {labels}, '', '', "
        f"replace(:wanted, 'dec_1', 'dec_' || {pad}), '', '' FROM {series}"
    )
    outcome = (
        f"INSERT INTO audit_records ({columns}) SELECT {values['writer']}, {values['number']} + 2, 'outcome', "  # noqa: S608
        f"{values['event_id']}, 1700000000005 + n * 10, 1700000000000 + n * 10, {labels}, {values['verdict']}, "
        f"{values['verdict']}, replace(:came, '\"refused\"', '\"' || ({values['verdict']}) || '\"'), '', '' FROM {series}"
    )
    async with engine.begin() as connection:
        for row in await _indexes(connection, postgresql):
            await connection.execute(text(f"DROP INDEX {row}"))
        if not postgresql:
            await connection.execute(text("DROP TRIGGER audit_records_no_replace"))
        else:
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
    timeless = engine if not postgresql else _without_timeout(dsn)
    async with timeless.begin() as connection:
        await connection.execute(text(intent), {"wanted": wanted})
        await connection.execute(text(outcome), {"came": came})
    await ensure_indexes(timeless)
    async with timeless.begin() as connection:
        await connection.execute(text("ANALYZE"))
    await timeless.dispose()
    await engine.dispose()


def _without_timeout(dsn: str) -> Any:
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://"))


async def _indexes(connection: Any, postgresql: bool) -> list[str]:
    asked = (
        "SELECT indexname FROM pg_indexes WHERE tablename = 'audit_records' AND indexname <> 'audit_records_pkey'"
        if postgresql
        else "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'audit_records' AND sql IS NOT NULL"
    )
    found = [row[0] for row in await connection.execute(text(asked))]
    return [name for name in found if name != "audit_records_event"]


def _payloads() -> tuple[str, str]:
    from registry_access.audit.sql.tables import canonical

    happened, came = refused()
    return canonical(payload_of(happened)), canonical(payload_of(came))


if __name__ == "__main__":
    main()

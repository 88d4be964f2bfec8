"""Audit intents committed a second, group commit beside one transaction each, in one run (SQLite, synchronous FULL)."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path

from registry_access.audit.sql.trail import SqlAuditTrail
from tests.support.audit_conformance import event

SECONDS = 2.0
CALLERS = (1, 16, 64)


def main() -> None:
    """Prints commits a second and ratios."""
    print(f"{'audit intents':<22}{'commits/s':>10}{'x single':>9}")
    with tempfile.TemporaryDirectory() as folder:
        single = _single(Path(folder) / "single.db")
        print(f"{'a transaction each':<22}{single:>10.0f}{1:>9.2f}")
        for callers in CALLERS:
            rate = asyncio.run(_grouped(Path(folder) / f"{callers}.db", callers))
            print(f"{f'akua, {callers} at once':<22}{rate:>10.0f}{rate / single:>9.2f}")


def _single(database: Path) -> float:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, payload TEXT)")
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        connection.execute("INSERT INTO records (payload) VALUES (?)", ("x" * 400,))
        count += 1
    connection.close()
    return count / (time.perf_counter() - began)


async def _grouped(database: Path, callers: int) -> float:
    trail = SqlAuditTrail(f"sqlite:///{database}")
    await trail.start()
    count, until = 0, time.perf_counter() + SECONDS

    async def caller() -> None:
        nonlocal count
        while time.perf_counter() < until:
            await trail.begin(event())
            count += 1

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    elapsed = time.perf_counter() - began
    await trail.stop()
    return count / elapsed

"""The indexes that reading needs, made beside the migrations: on a large trail they take minutes, which no pull waits for.

PostgreSQL builds them CONCURRENTLY, so that records are written meanwhile. A process that ends in the middle leaves an invalid
index behind; the next one builds it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_INTENTS = "kind = 'intent'"
_REMARKABLE = "verdict NOT IN ('', 'allowed')"
# Written by `canonical`, so the member stands just so. A regular expression takes any payload, a JSON function only a valid one.
DECISION_POSTGRESQL = 'substring(payload from \'"decision_id":"([^"]*)"\')'
DECISION_SQLITE = "CASE WHEN json_valid(payload) THEN json_extract(payload, '$.decision_id') END"


@dataclass(frozen=True, slots=True)
class ReadIndex:
    """An index on audit_records."""

    name: str
    columns: str
    where: str
    unique: bool = False
    sqlite: str = ""  # instead of `columns`

    def statement(self, dialect: str, *, concurrently: bool) -> str:
        unique, waiting = "UNIQUE " if self.unique else "", "CONCURRENTLY " if concurrently else ""
        columns = self.sqlite if self.sqlite and dialect == "sqlite" else self.columns
        return f"CREATE {unique}INDEX {waiting}IF NOT EXISTS {self.name} ON audit_records ({columns}) WHERE {self.where}"


READ_INDEXES = (
    ReadIndex("audit_records_chain", "writer, number", "number IS NOT NULL", unique=True),
    ReadIndex("audit_records_unnumbered", "writer, sequence", "number IS NULL"),
    ReadIndex("audit_records_by_time", "time, sequence", _INTENTS),
    ReadIndex("audit_records_by_workspace", "workspace, time, sequence", _INTENTS),
    ReadIndex("audit_records_by_install", "install, time, sequence", _INTENTS),
    ReadIndex("audit_records_by_registry", "registry, time, sequence", _INTENTS),
    ReadIndex("audit_records_by_repository", "repository, time, sequence", _INTENTS),
    ReadIndex("audit_records_by_operation", "operation, time, sequence", _INTENTS),
    ReadIndex("audit_records_by_decision", f"({DECISION_POSTGRESQL})", _INTENTS, sqlite=f"({DECISION_SQLITE})"),
    ReadIndex("audit_records_verdict", "verdict, began, sequence", _REMARKABLE),
    ReadIndex("audit_records_verdict_workspace", "workspace, verdict, began, sequence", _REMARKABLE),
    ReadIndex("audit_records_verdict_install", "install, verdict, began, sequence", _REMARKABLE),
    ReadIndex("audit_records_verdict_repository", "repository, verdict, began, sequence", _REMARKABLE),
    ReadIndex("audit_records_unnumbered_result", "result, time, sequence", "number IS NULL AND result NOT IN ('', 'allowed')"),
)
# Of earlier releases; nothing reads by them any more.
OBSOLETE = ("audit_records_install", "audit_records_repository", "audit_records_time")


async def ensure_indexes(engine: AsyncEngine) -> None:
    """Makes what is missing, each on its own, so that an interrupted run goes on where it ended. Raises SQLAlchemyError."""
    dialect = engine.dialect.name
    if dialect == "postgresql":
        async with engine.connect() as connection:
            # CONCURRENTLY cannot be inside a transaction.
            await _ensure(await connection.execution_options(isolation_level="AUTOCOMMIT"), dialect)
        return
    for index in READ_INDEXES:
        async with engine.begin() as connection:
            await connection.execute(text(index.statement(dialect, concurrently=False)))
    async with engine.begin() as connection:
        for name in OBSOLETE:
            await connection.execute(text(f"DROP INDEX IF EXISTS {name}"))


async def indexes_are_made(connection: AsyncConnection) -> bool:
    """Whether every index of this release is there and usable, and none of an earlier one."""
    there = await connection.run_sync(_usable)
    return {index.name for index in READ_INDEXES} <= there and not there & set(OBSOLETE)


def make_indexes(connection: Connection) -> None:
    """Makes them all at once; for a table that is still empty."""
    for index in READ_INDEXES:
        connection.execute(text(index.statement(connection.dialect.name, concurrently=False)))
    for name in OBSOLETE:
        connection.execute(text(f"DROP INDEX IF EXISTS {name}"))


async def _ensure(connection: AsyncConnection, dialect: str) -> None:
    usable = await connection.run_sync(_usable)
    for index in READ_INDEXES:
        if index.name not in usable:
            await connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}"))
            await connection.execute(text(index.statement(dialect, concurrently=True)))
    for name in OBSOLETE:
        await connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))


def _usable(connection: Connection) -> set[str]:
    if connection.dialect.name == "sqlite":
        asked = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'audit_records'"
    else:
        asked = (
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE i.indrelid = 'audit_records'::regclass AND i.indisvalid"
        )
    return {str(row[0]) for row in connection.execute(text(asked))}

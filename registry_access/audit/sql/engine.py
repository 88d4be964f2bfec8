"""Engines for SQLite and PostgreSQL, and migrations on start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from registry_access.audit.sql.indexes import ensure_indexes, indexes_are_made, make_indexes
from registry_access.model.errors import InvalidInput

NEWEST_REVISION = "0002"  # of migrations/versions
LOCK_TIMEOUT = "500ms"  # below the second that a pull waits for its record
_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL, appendix A
_LOCK_ATTEMPTS, _LOCK_PAUSE_SECONDS, _TURN_SECONDS = 60, 0.5, 0.2
_MIGRATION_LOCK = 0x616B7561  # any number that all replicas agree on
SQLITE_BUSY_MILLISECONDS = 500


def open_engine(dsn: str, *, read_only: bool = False) -> AsyncEngine:
    """An engine for `sqlite:///path` or `postgresql://...`.

    SQLite gets one connection that writes, and others that are read-only and so can never reset the WAL (the corruption bug of
    SQLite before 3.51.3 needs two connections that write or checkpoint).
    Raises InvalidInput, which does not quote the DSN: it may hold a password.
    """
    try:
        url = make_url(dsn)
    except ArgumentError:
        raise InvalidInput(
            "is not a database URL", field="audit dsn", remedy="write sqlite:///path or postgresql://..."
        ) from None
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, read_only)
    if url.get_backend_name() in ("postgresql", "postgres"):
        return create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=4,
            max_overflow=0,
            pool_pre_ping=True,
            pool_timeout=1,
            connect_args={"timeout": 2, "command_timeout": 5},
        )
    raise InvalidInput("is for another database", field="audit dsn", remedy="write sqlite:///path or postgresql://...")


def _sqlite(url: URL, read_only: bool) -> AsyncEngine:
    path = Path(url.database or "audit.db").absolute()
    if read_only:
        target = url.set(drivername="sqlite+aiosqlite", database=f"file:{path}", query={"mode": "ro", "uri": "true"})
    else:
        target = url.set(drivername="sqlite+aiosqlite", database=str(path))
    engine = create_async_engine(
        target,
        pool_size=4 if read_only else 1,
        max_overflow=0,
        connect_args={"timeout": SQLITE_BUSY_MILLISECONDS / 1000},
    )
    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        event.listen(engine.sync_engine, "connect", _configure_sqlite)
    return engine


async def migrate(engine: AsyncEngine) -> None:
    """Brings the database to the newest revision; replicas that start together take turns. Raises SQLAlchemyError, OSError.

    On PostgreSQL it has connections of its own: a migration may take longer than a pull may wait, and must not make pulls wait
    for a lock that it queues for. The turn is polled for: who waited inside of a transaction would hold up an index that is built
    CONCURRENTLY, and be held up by it.
    """
    if engine.dialect.name != "postgresql":
        async with engine.begin() as connection:
            await connection.run_sync(_to_newest)
            complete = await indexes_are_made(connection)
        if not complete:
            await ensure_indexes(engine)
        return
    async with _patient(engine) as own, _turn(own):
        for attempt in range(1, _LOCK_ATTEMPTS + 1):
            try:
                async with own.begin() as connection:
                    await connection.run_sync(_to_newest)
                return
            except DBAPIError as error:
                if not _lock_timed_out(error) or attempt == _LOCK_ATTEMPTS:
                    raise
            await asyncio.sleep(_LOCK_PAUSE_SECONDS)


async def make_indexes_meanwhile(engine: AsyncEngine) -> None:
    """Makes the indexes that reading needs on PostgreSQL, while records are written. Raises SQLAlchemyError, OSError."""
    async with engine.connect() as connection:
        if await indexes_are_made(connection):
            return
    async with _patient(engine, lock_timeout="0") as own, _turn(own):
        await ensure_indexes(own)


@asynccontextmanager
async def _patient(engine: AsyncEngine, lock_timeout: str = LOCK_TIMEOUT) -> AsyncIterator[AsyncEngine]:
    """An engine for the same database whose statements may take as long as they need."""
    own = create_async_engine(
        engine.url,
        poolclass=NullPool,
        connect_args={"timeout": 5, "server_settings": {"lock_timeout": lock_timeout, "statement_timeout": "0"}},
    )
    try:
        yield own
    finally:
        await own.dispose()


@asynccontextmanager
async def _turn(engine: AsyncEngine) -> AsyncIterator[None]:
    """This process's turn among those that migrate; given back when the connection ends, however it ends."""
    async with engine.connect() as connection:
        held = await connection.execution_options(isolation_level="AUTOCOMMIT")
        while not (await held.execute(text(f"SELECT pg_try_advisory_lock({_MIGRATION_LOCK})"))).scalar():  # noqa: ASYNC110
            await asyncio.sleep(_TURN_SECONDS)
        try:
            yield
        finally:
            await held.execute(text(f"SELECT pg_advisory_unlock({_MIGRATION_LOCK})"))


def _lock_timed_out(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", "") == _LOCK_NOT_AVAILABLE


async def is_migrated(engine: AsyncEngine) -> bool:
    """Whether the database is at the newest revision."""
    async with engine.connect() as connection:
        return await connection.run_sync(_revision) == NEWEST_REVISION


def _to_newest(connection: Connection) -> None:
    if _revision(connection) == NEWEST_REVISION:
        return
    _upgrade(connection)
    if _revision(connection) == NEWEST_REVISION and not connection.execute(text("SELECT 1 FROM audit_records LIMIT 1")).first():
        make_indexes(connection)


def _revision(connection: Connection) -> str:
    """The revision that a database is at, "" for an empty one; as Alembic notes it."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())


def _upgrade(connection: Connection) -> None:
    # 11 MB and a second that only the first start of a release needs.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _configure_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "journal_size_limit=67108864"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()

"""Engines for SQLite and PostgreSQL, and migrations on start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from registry_access.model.errors import InvalidInput

NEWEST_REVISION = "0001"  # of migrations/versions
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
    """Brings the database to the newest revision; replicas that start together take turns."""
    async with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        if await connection.run_sync(_revision) != NEWEST_REVISION:
            await connection.run_sync(_upgrade)


async def is_migrated(engine: AsyncEngine) -> bool:
    """Whether the database is at the newest revision."""
    async with engine.connect() as connection:
        return await connection.run_sync(_revision) == NEWEST_REVISION


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

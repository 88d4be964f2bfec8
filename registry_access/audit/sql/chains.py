"""Which chains there are, found by steps through an index instead of a walk through every record."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from registry_access.audit.sql.register import Head


def _steps(condition: str, order: str) -> str:
    return (
        f"WITH RECURSIVE step(writer) AS (SELECT min(writer) FROM audit_records WHERE {condition} "  # noqa: S608 - constants
        f"UNION ALL SELECT (SELECT min(writer) FROM audit_records WHERE {condition} AND writer > step.writer) FROM step "
        "WHERE step.writer IS NOT NULL) "
        f"SELECT r.writer, r.number, r.sequence, r.hash FROM step JOIN audit_records r ON r.sequence = (SELECT sequence "
        f"FROM audit_records WHERE {condition} AND writer = step.writer ORDER BY {order} DESC LIMIT 1) "
        "WHERE step.writer IS NOT NULL"
    )


# A row for each chain: writer, and number, sequence and hash of its last record.
NUMBERED = text(_steps("number IS NOT NULL", "number"))
UNNUMBERED = text(_steps("number IS NULL", "sequence"))


async def numbered_heads(connection: AsyncConnection) -> dict[str, Head]:
    """The head of every chain that the register knows of, by writer."""
    return await _heads(connection, NUMBERED)


async def unnumbered_heads(connection: AsyncConnection) -> dict[str, Head]:
    """The same for the chains that are older than the register."""
    return await _heads(connection, UNNUMBERED)


async def _heads(connection: AsyncConnection, statement: object) -> dict[str, Head]:
    found = await connection.execute(statement)  # type: ignore[call-overload]
    return {
        str(row.writer): Head(None if row.number is None else int(row.number), int(row.sequence), str(row.hash)) for row in found
    }

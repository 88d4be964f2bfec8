"""The one door to the trail on SQL: SQLAlchemy would be a third of the memory of a process that has no trail."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_access.audit.sql.trail import SqlAuditTrail

_WRITER_MAXIMUM = 55  # characters; the column has 64


def chain_name(writer: str) -> str:
    """The name of the chain of one process life: `writer` and 8 random hexadecimal digits.

    A fresh chain asks for no head, and a commit of the life before that lands late cannot fork it.
    """
    return f"{writer[:_WRITER_MAXIMUM]}.{secrets.token_hex(4)}"


def sql_trail(
    dsn: str,
    *,
    writer: str = "local",
    read_only: bool = False,
    migrates: bool = True,
    owner_dsn: str = "",
    capacity: int = 0,
) -> SqlAuditTrail:
    """The trail behind `dsn`, not yet started; see SqlAuditTrail."""
    from registry_access.audit.sql.trail import SqlAuditTrail

    return SqlAuditTrail(dsn, writer=writer, read_only=read_only, migrates=migrates, owner_dsn=owner_dsn, capacity=capacity)


async def copy_trail(source: str, target: str, progress: Callable[[int], None] = lambda _: None) -> int:
    """Takes the trail behind `source` to the database `target`; see registry_access.audit.sql.copying."""
    from registry_access.audit.sql import copying

    return await copying.copy_trail(source, target, progress)

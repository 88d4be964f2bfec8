"""The one door to the trail on SQL: SQLAlchemy would be a third of the memory of a process that has no trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_access.audit.sql.trail import SqlAuditTrail


def sql_trail(dsn: str, *, writer: str = "local", read_only: bool = False, migrates: bool = True) -> SqlAuditTrail:
    """The trail behind `dsn`, not yet started; see SqlAuditTrail."""
    from registry_access.audit.sql.trail import SqlAuditTrail

    return SqlAuditTrail(dsn, writer=writer, read_only=read_only, migrates=migrates)

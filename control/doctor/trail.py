"""The audit trail: can it be read, and is its chain whole?"""

from __future__ import annotations

from pathlib import Path

from control.doctor.finding import Check, bad, good, warning
from registry_access.audit.trail import sql_trail
from registry_access.model.errors import AkuaError

AUDIT = "audit trail"
_SQLITE = "sqlite:///"


async def audit_check(dsn: str) -> Check:
    """Of the trail at `dsn`, read only."""
    if dsn.startswith(_SQLITE) and not Path(dsn.removeprefix(_SQLITE)).exists():
        return warning(AUDIT, "is not there yet; `akua serve` makes it")
    trail = sql_trail(dsn, read_only=True)
    try:
        await trail.start()
        report = await trail.verify()
    except AkuaError as error:
        return bad(AUDIT, str(error))
    finally:
        await trail.stop()
    if report.ok:
        return good(AUDIT, f"{report.records} records, the chain is whole")
    return bad(AUDIT, f"record {report.first_bad}: {report.problem}; restore it from a backup")

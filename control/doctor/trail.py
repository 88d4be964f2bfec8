"""The audit trail: can it be read, and is its chain whole?"""

from __future__ import annotations

from pathlib import Path

from control.doctor.finding import Check, bad, good, warning
from registry_access.audit.trail import sql_trail
from registry_access.model.errors import AkuaError

AUDIT = "audit trail"
DAYS_ENOUGH = 14
_SQLITE = "sqlite:///"


async def audit_check(dsn: str, capacity: int = 0) -> Check:
    """Checks the trail at `dsn`, read-only."""
    if dsn.startswith(_SQLITE) and not Path(dsn.removeprefix(_SQLITE)).exists():
        return warning(AUDIT, "does not exist yet; start `akua serve` to create it")
    trail = sql_trail(dsn, read_only=True, capacity=capacity)
    try:
        await trail.start()
        report = await trail.verify()
        room = await trail.measured()
    except AkuaError as error:
        return bad(AUDIT, str(error))
    finally:
        await trail.stop()
    if report.ok and room.days_left is not None and room.days_left < DAYS_ENOUGH:
        grown = f"it grows by {room.growth / 2**20:,.0f} MiB a day, and {(room.free or 0) / 2**20:,.0f} MiB are left"
        return warning(
            AUDIT, f"will be full in {room.days_left:.1f} days, and pulls will be refused: {grown}; give it a larger volume"
        )
    if report.ok:
        return good(AUDIT, f"{report.records} records, the chain is whole")
    place = f"record {report.first_bad}: " if report.first_bad else ""
    return bad(AUDIT, f"{place}{report.problem}; do not change the database; compare it with a backup")

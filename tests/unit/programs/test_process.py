"""A serving process and what it may have to do without."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from programs import process as process_module
from programs.process import Process
from registry_access.audit.interface import AuditTrail
from registry_access.model.errors import AuditUnavailable
from registry_access.settings import load_settings
from tests.support.state_conformance import until


class Trail:
    """A database that is away the first `failures` times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.started = self.stopped = 0

    async def start(self) -> None:
        if self.failures:
            self.failures -= 1
            raise AuditUnavailable("the database is away")
        self.started += 1

    async def stop(self) -> None:
        self.stopped += 1


@pytest.mark.parametrize("failures", [0, 1, 3])
async def test_pods_are_admitted_while_the_audit_trail_is_away(
    failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = Trail(failures)

    def made(dsn: str, *, writer: str, migrates: bool) -> AuditTrail:
        assert not migrates, "the proxy's work"
        return trail  # type: ignore[return-value]  # what the process itself asks for

    monkeypatch.setattr(process_module, "sql_trail", made)
    monkeypatch.setattr(process_module, "_AUDIT_RETRY_SECONDS", 0.01)
    local = {f"AKUA_{name}_ADDRESS": "127.0.0.1:0" for name in ("WEBHOOK", "OPERATIONS")}
    given = {"AKUA_STATE": f"directory:{tmp_path / 'state'}", "AKUA_AUDIT_DSN": "postgresql://akua@db.invalid/akua", **local}
    process = Process(load_settings(given), tmp_path, proxy=False)
    serving = asyncio.Event()
    running = asyncio.create_task(process.run(serving.set))
    async with asyncio.timeout(20):
        await serving.wait()
    await until(lambda: trail.started)
    process.stop()
    await running
    assert (trail.started, trail.stopped) == (1, 1)

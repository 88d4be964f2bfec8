"""What every unit test runs under."""

from __future__ import annotations

import pytest

from registry_access.audit.sql import writer


@pytest.fixture(autouse=True)
def unhurried_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that others keep busy must not fail a test that is about something else; tests/integration has the deadline."""
    monkeypatch.setattr(writer, "COMMIT_DEADLINE", 30.0)

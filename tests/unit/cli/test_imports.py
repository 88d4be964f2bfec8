"""What a process does not use it does not load: each of these is memory in every replica, and time before every command."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HEAVY = ("sqlalchemy", "alembic", "botocore", "kubernetes_asyncio", "aiosqlite", "asyncpg")


@pytest.mark.parametrize("module", ["cli.main", "cli.process", "registry_access.state.kubernetes", "proxy.app"])
def test_heavy_libraries_wait_until_they_are_wanted(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {_HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""What a process does not use it does not load: each of these is memory in every replica, and time before every command."""

from __future__ import annotations

import subprocess
import sys

import pytest

_STORES = ("sqlalchemy", "alembic", "botocore", "kubernetes_asyncio", "aiosqlite", "asyncpg")
_COMMAND_LINE = ("typer", "pydantic", "rich", "httpx", "ruamel", "jinja2")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("cli.main", _STORES),
        ("programs.runner", _STORES + _COMMAND_LINE),
        ("programs.node_trust", (*_STORES, *_COMMAND_LINE, "proxy", "webhook")),
        ("registry_access.state.kubernetes", _STORES + _COMMAND_LINE),
        ("proxy.app", _STORES + _COMMAND_LINE),
    ],
)
def test_heavy_libraries_wait_until_they_are_wanted(module: str, heavy: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

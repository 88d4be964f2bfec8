"""Finding the real programs that tests drive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def requires_program(name: str) -> Path:
    """The path of a real program. Skips loudly where it is absent on a person's machine, fails in CI (`CI` is set)."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found:
        return Path(found)
    message = f"{name} is not installed: run `make parts` as root, or install it"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)

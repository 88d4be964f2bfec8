"""The short way into the programs: the same settings, the same errors, without the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AKUA = Path(sys.executable).with_name("akua")


def akua(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("AKUA_")}
    return subprocess.run([AKUA, *arguments], env=outside | environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("program", ["serve", "proxy", "webhook", "node-trust"])
def test_a_wrong_setting_ends_a_program_with_one_line(program: str) -> None:
    ended = akua(program, AKUA_STATE="cloud")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("akua: AKUA_STATE: 'cloud' is not a state store")


def test_the_settings_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "akua.toml").write_text('staleness_limit = "soon"\n')
    ended = akua("proxy", AKUA_CONFIG=str(tmp_path / "akua.toml"))
    assert ended.returncode == 2
    assert "staleness_limit in" in ended.stderr


def test_everything_else_goes_through_the_command_line() -> None:
    assert "address:port" in akua("webhook", "--help").stdout
    assert akua("webhock").returncode == 2

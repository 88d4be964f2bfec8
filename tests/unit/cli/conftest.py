"""Commands run in this process, on a folder of their own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.main import main


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Akua = Callable[..., Ran]


@pytest.fixture
def akua(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Akua:
    """Runs `akua --folder TMP ...`; `stdin` is what is piped to it."""
    for name in ("AKUA_WORKSPACE", "AKUA_CONFIG", "AKUA_STATE", "AKUA_HOST"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, stdin: str | bytes = "", folder: bool = True) -> Ran:
        piped = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped), "utf-8"))
        capfd.readouterr()
        code = main([*(["--folder", str(tmp_path)] if folder else []), *arguments])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run

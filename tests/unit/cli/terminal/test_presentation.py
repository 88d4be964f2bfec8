"""Nothing that others wrote moves an administrator's cursor, colours the screen or turns the reading direction."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.text import Text

from cli.install import progress
from cli.terminal.exit_code import exit_code
from cli.terminal.options import Output
from cli.terminal.presentation import confirm, console, done, remark, show_error, show_fields, show_json, show_line, show_rows
from registry_access.model.errors import AkuaError, InvalidInput, InvalidSettings
from tests.unit.cli.conftest import Akua

ROOT = Path(__file__).parents[4]
HOSTILE = {
    "CSI": "shop\x1b[2J\x1b[1;31m",
    "title": "shop\x1b]0;owned\x07",
    "hyperlink": "shop\x1b]8;;https://evil.example/\x1b\\click\x1b]8;;\x1b\\",
    "8-bit CSI": "shop\x9b2J",
    "backspaces": "shop\b\b\b\bfake",
    "carriage return": "shop\rfake",
    "another row": "shop\nother  allowed",
    "tab, form feed, null": "shop\t\f\x00\x7f",
    "bidirectional override": "shop\u202egpj.exe\u2066\u200f",
    "invisible": "sh\u200bo\ufeffp\u00ad\U000e0041",
    "separators": "shop\u2028fake\u2029",
    "lone surrogate": "shop\udc9b2J",
    "markup": "[red]shop[/red]",
}
WAYS: dict[str, Callable[[str], object]] = {
    "row": lambda text: show_rows(["name", text], [[text, Text(text, "green")]], empty=""),
    "empty": lambda text: show_rows(["name"], [], empty=text),
    "fields": lambda text: show_fields({"name": text, "other": Text(text)}),
    "line": lambda text: show_line([text, Text(text)]),
    "done": lambda text: done(Output.TABLE, {}, text),
    "remark": remark,
    "error": lambda text: show_error(InvalidInput(text, field=text, remedy=text)),
    "errors": lambda text: show_error(InvalidSettings((InvalidInput(text), InvalidInput(text)))),
    "uncaught": lambda text: exit_code(lambda: raise_(AkuaError(text))),
    "console": lambda text: console().print(Text(text)),
    "standard error": lambda text: console(sys.stderr).print(Text(text)),
    "json": lambda text: show_json({"name": text, text: [text]}),
    "json line": lambda text: show_json({"name": text}, indent=None),
}


def raise_(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("show", WAYS.values(), ids=WAYS.keys())
def test_what_is_shown_is_text_and_nothing_else(
    text: str, show: Callable[[str], object], capsys: pytest.CaptureFixture[str]
) -> None:
    show(text)
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert "sh" in said
    assert [character for character in said if not character.isprintable() and character != "\n"] == []


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_on_a_terminal_the_styles_are_ours(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    show_rows(["name"], [[text, Text("fine", "green")]], empty="")
    said = capsys.readouterr().out
    assert "\x1b[32m" in said
    rest = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert [character for character in rest if not character.isprintable() and character != "\n"] == []
    assert "\x1b[2J" not in said
    assert "\x1b[1;31m" not in said


def test_a_value_cannot_forge_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(["name", "state"], [["shop\nother  allowed", ["refused", "revoked"]]], empty="")
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["NAME", "STATE"],
        ["shop\\x0aother", "allowed", "refused"],
        ["revoked"],
    ]
    show_error(InvalidInput("is wrong\nakua: everything is fine"))
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_json_says_what_the_value_was(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"name": text})
    assert json.loads(capsys.readouterr().out) == {"name": text}


def test_a_question_and_a_progress_bar_are_inert(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda question, **_: asked.append(question))
    confirm("Delete \x1b[2Jshop?")
    assert asked == ["Delete \\x1b[2Jshop?"]
    with progress._Bar(2) as bar:
        bar.at("shop\x1b[2J", "[red]waits\x9b2J")
        bar.done("shop", "")
    said = capsys.readouterr().err
    assert "\x1b[2J" not in said
    assert "\x9b" not in said


def test_what_an_object_carries_reaches_no_terminal(akua: Akua, tmp_path: Path) -> None:
    akua("credential", "add", "ghcr", "-u", "octocat", stdin="canary-password\n")
    (file,) = (tmp_path / "state/default").glob("*credential*ghcr*.yaml")
    written = file.read_text("utf-8")  # as a member with kubectl would change it
    file.write_text(written.replace("spec:\n", 'spec:\n  displayName: "GitHub\\e[2J\\u202E"\n', 1), "utf-8")
    assert "GitHub\\x1b[2J\\u202e" in akua("credential", "show", "ghcr").out
    for words in (["credential", "list"], ["credential", "show", "ghcr"], ["credential", "list", "-o", "json"], ["doctor"]):
        ran = akua(*words)
        assert [mark for mark in "\x1b\u202e\x9b" if mark in ran.out + ran.err] == [], words


def test_commands_print_through_one_place_only() -> None:
    """`yaml.dump` escapes controls itself; a token is our own."""
    allowed = {"main.py", "terminal/presentation.py", "install/token.py", "preview/rewrite.py", "audit/commands.py"}
    prints = re.compile(r"\bConsole\(|sys\.std(out|err)\.write|(?<!\.)\bprint\(|typer\.(echo|secho|confirm)\(")
    found = {
        str(path.relative_to(ROOT / "cli")) for path in (ROOT / "cli").rglob("*.py") if prints.search(path.read_text("utf-8"))
    }
    assert found <= allowed

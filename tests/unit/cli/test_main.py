"""The command itself: help for everything, exit codes, one line for an error, settings from everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.main import app, main
from tests.unit.cli.conftest import Akua


def every_command(group: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if hasattr(command, "commands"):
            found += every_command(command, (*path, name))
    return found


COMMANDS = every_command(typer.main.get_command(app))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_for_itself_and_each_option(akua: Akua, path: tuple[str, ...]) -> None:
    ran = akua(*path, "--help")
    assert ran.code == 0
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]  # type: ignore[attr-defined]
    assert command.help
    undescribed = [item.name for item in command.params if not getattr(item, "help", None)]
    assert undescribed == []


@pytest.mark.parametrize("path", [path for path in COMMANDS if path[-1] in ("list", "show", "create", "add", "revoke", "delete")])
def test_what_is_scripted_can_give_json(path: tuple[str, ...]) -> None:
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]  # type: ignore[attr-defined]
    assert any("--output" in item.opts for item in command.params)


def test_no_option_takes_a_secret() -> None:
    command = typer.main.get_command(app)
    for path in COMMANDS:
        found: Any = command
        for name in path:
            found = found.commands[name]
        options = {option for item in found.params for option in item.opts}
        assert not options & {"--password", "--token", "--secret", "--client-secret", "--secret-access-key"}, path


def test_all_problems_of_the_settings_are_reported_together(akua: Akua, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AKUA_DRAIN", "soon")
    monkeypatch.setenv("AKUA_STALENES_LIMIT", "3s")
    file = tmp_path / "akua.toml"
    file.write_text('host = "https://x"\nproxy_adress = ":1"\n')
    ran = akua("--config", str(file), "product", "list")
    assert ran.code == 2
    lines = ran.err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("akua: ") for line in lines)
    assert "did you mean AKUA_STALENESS_LIMIT?" in ran.err
    assert "did you mean proxy_address?" in ran.err


def test_settings_come_from_a_file(akua: Akua, tmp_path: Path) -> None:
    file = tmp_path / "akua.toml"
    file.write_text('host = "oci.example.com"\n')
    ran = akua("--config", str(file), "image", "redis")
    assert '"oci.example.com/docker.io/library/redis"' in ran.out


def test_unknown_words_are_answered_with_usage(akua: Akua) -> None:
    assert akua("instal").code == 2
    assert akua("install", "creat").code == 2
    assert "Usage" in akua("install", "create").err


def test_a_state_that_cannot_be_used_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    assert main(["--folder", str(tmp_path), "install", "list"]) == 1
    err = capfd.readouterr().err
    assert err.startswith("akua: the state folder")
    assert err.count("\n") == 1


def test_a_bug_shows_its_place_and_no_traceback(akua: Akua, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("canary-secret")

    monkeypatch.setattr("cli.preview.image.described", broken)
    ran = akua("image", "redis")
    assert ran.code == 1
    assert ran.err.startswith("akua: internal error: RuntimeError at test_main.py:")
    assert "canary" not in ran.err

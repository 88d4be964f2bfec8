"""Replacing a file whole, where others may have prepared its folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from registry_access.runtime.atomic_write import read_regular_file, remove_leftovers, write_atomically


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_is_what_was_asked_for_whatever_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", b"new", mode=mode)
    finally:
        os.umask(before)
    assert ((tmp_path / "file").read_bytes(), (tmp_path / "file").stat().st_mode & 0o777) == (b"new", mode)


def test_a_link_is_replaced_and_what_it_points_to_is_left_alone(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"theirs")
    victim.chmod(0o400)
    link.symlink_to(victim)
    write_atomically(link, b"ours", mode=0o644)
    assert (victim.read_bytes(), victim.stat().st_mode & 0o777) == (b"theirs", 0o400)
    assert (link.is_symlink(), link.read_bytes()) == (False, b"ours")


def test_a_prepared_temporary_name_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that was guessed: it is opened exclusively."""
    victim, names = tmp_path / "victim", iter(["guessed", "other"])
    (tmp_path / ".writing-guessed").symlink_to(victim)
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: names)
    write_atomically(tmp_path / "file", b"ours", mode=0o600)
    assert not victim.exists()
    assert (tmp_path / ".writing-guessed").is_symlink()


@pytest.mark.parametrize("step", ["fchmod", "fsync"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", b"new", mode=0o600)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    assert read_regular_file(tmp_path / "none", 10) is None
    assert read_regular_file(tmp_path / "none" / "none", 10) is None
    (tmp_path / "file").write_bytes(b"0123456789ab")
    assert read_regular_file(tmp_path / "file", 10) == b"0123456789"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "lost").symlink_to(tmp_path / "none")
    for name in ("pipe", "link", "lost", "."):
        with pytest.raises(OSError):
            read_regular_file(tmp_path / name, 10)


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    (tmp_path / ".writing-x").write_bytes(b"half")
    (tmp_path / ".writing-y").symlink_to(victim)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]

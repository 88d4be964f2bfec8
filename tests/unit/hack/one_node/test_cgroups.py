"""What is asked of control groups v1 and v2 before a node starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hack.one_node.cgroups import hand_down
from hack.one_node.errors import ClusterError


def v2(root: Path, controllers: str, handed: str) -> Path:
    (root / "cgroup.controllers").write_text(controllers)
    (root / "cgroup.subtree_control").write_text(handed)
    return root / "cgroup.subtree_control"


def test_v1_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    hand_down(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["memory"]


def test_what_is_missing_is_handed_down(tmp_path: Path) -> None:
    handed = v2(tmp_path, "cpuset cpu io memory pids\n", "memory\n")
    hand_down(tmp_path)
    assert handed.read_text() == "+cpu +pids"


def test_what_is_handed_down_already_is_left_as_it_is(tmp_path: Path) -> None:
    handed = v2(tmp_path, "cpu memory pids io\n", "cpu memory pids\n")
    hand_down(tmp_path)
    assert handed.read_text() == "cpu memory pids\n"


def test_a_controller_that_is_not_there_is_named(tmp_path: Path) -> None:
    v2(tmp_path, "cpu pids\n", "")
    with pytest.raises(ClusterError, match="no controller memory: whoever started this container"):
        hand_down(tmp_path)


def test_processes_in_the_way_are_said_with_the_way_out(tmp_path: Path) -> None:
    handed = v2(tmp_path, "cpu memory pids\n", "")
    handed.unlink()
    handed.symlink_to("/proc/self/status")  # refuses to be written, as a root with processes in it does
    with pytest.raises(ClusterError, match="inside a container, move its processes into a group of their own"):
        hand_down(tmp_path)

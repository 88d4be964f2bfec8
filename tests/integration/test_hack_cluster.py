"""hack/cluster's control plane: it comes up, survives a second `up`, is mended after a crash, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.one_node.processes import start_time
from tests.support.cluster import HACK_CLUSTER, RealCluster, until
from tests.support.kubernetes import find_api_server
from tests.support.programs import requires_program


def hack_cluster(command: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    arguments: list[str | Path] = [sys.executable, HACK_CLUSTER, command, "--dir", folder, *more]
    arguments += ["--control-plane-only"] if command == "up" else []
    environment = {name: value for name, value in os.environ.items() if name != "AKUA_TEST_KUBECONFIG"}
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    find_api_server()
    requires_program("etcd")
    yield tmp_path / "cluster"
    hack_cluster("down", tmp_path / "cluster")


def daemons(folder: Path) -> dict[str, int]:
    return {one["name"]: one["pid"] for one in json.loads((folder / "daemons.json").read_text())}


def test_a_control_plane_comes_up_answers_and_goes(folder: Path) -> None:
    first = hack_cluster("up", folder)
    assert "ready in" in first.stdout, first.stderr
    again = hack_cluster("up", folder)
    assert "already up" in again.stdout
    kubeconfig = hack_cluster("kubeconfig", folder).stdout.strip()
    assert Path(kubeconfig).stat().st_mode & 0o777 == 0o600
    cluster = RealCluster(Path(kubeconfig))
    assert cluster.kubectl("get", "--raw", "/readyz") == "ok"
    assert "yes" in cluster.kubectl("auth", "can-i", "*", "*")
    pids = daemons(folder).values()
    assert hack_cluster("down", folder).returncode == 0
    assert not folder.exists()
    assert not [pid for pid in pids if start_time(pid)]
    assert hack_cluster("down", folder).stdout == "there was no cluster\n"


def test_what_a_crash_left_is_cleared_by_the_next_up(folder: Path) -> None:
    assert hack_cluster("up", folder).returncode == 0
    before = daemons(folder)
    os.kill(before["kube-apiserver"], signal.SIGKILL)
    # It counts as alive until the last of its threads has ended.
    until(lambda: not start_time(before["kube-apiserver"]))
    status = hack_cluster("status", folder)
    assert status.returncode == 1
    assert "dead" in status.stdout
    assert "ready in" in hack_cluster("up", folder).stdout
    assert not start_time(before["etcd"])
    assert hack_cluster("status", folder).returncode == 0


def test_a_part_is_restarted_as_it_was_and_keeps_what_it_had(folder: Path) -> None:
    assert hack_cluster("up", folder).returncode == 0
    cluster = RealCluster(folder / "kubeconfig")
    cluster.kubectl("create", "namespace", "kept")
    before = daemons(folder)
    for part, more in (("kube-apiserver", ("--kill",)), ("etcd", ())):
        done = hack_cluster("restart", folder, part, *more)
        assert done.returncode == 0, done.stderr
        assert cluster.kubectl("get", "namespace", "kept", "-o", "name") == "namespace/kept\n"
    after = daemons(folder)
    assert {name for name in before if before[name] != after[name]} == {"kube-apiserver", "etcd"}
    refused = hack_cluster("restart", folder, "nginx")
    assert refused.returncode == 1
    assert refused.stderr == "hack/cluster: unknown part: nginx; choose from etcd, kube-apiserver\n"
    nowhere = hack_cluster("load", folder, "image.tar")
    assert nowhere.stderr == "hack/cluster: no node runs here; start one with hack/cluster up\n"


def test_a_pid_that_was_given_to_another_process_is_left_alone(folder: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        folder.mkdir()
        entry = {"name": "etcd", "pid": stranger.pid, "started": 1}
        (folder / "daemons.json").write_text(json.dumps([entry]))
        assert hack_cluster("down", folder).returncode == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()

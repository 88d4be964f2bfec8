"""What is asked of kind and docker where they drive the cluster."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from hack.one_node import kind
from hack.one_node.errors import ClusterError

# Writes down what it was asked, and answers like the real one: $CLUSTERS are the clusters that there are.
FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
[ "$1 $2" = "get clusters" ] && printf '%s\\n' $CLUSTERS
[ "$1" = "load" ] && [ -n "$BROKEN" ] && exit 1
exit 0
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("kind", "docker"):
        (programs / name).write_text(FAKE)
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("CLUSTERS", "")
    return tmp_path / "calls"


def test_a_cluster_is_created_with_our_configuration(calls: Path, tmp_path: Path) -> None:
    assert kind.up(tmp_path / "run" / "kubeconfig")
    create = f"kind create cluster --name akua --config {kind.CONFIGURATION} --kubeconfig {tmp_path}/run/kubeconfig --wait 180s"
    assert calls.read_text().splitlines() == ["kind get clusters", create]


def test_one_that_is_there_is_only_asked_for_its_kubeconfig(calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERS", "other akua")
    assert not kind.up(tmp_path / "kubeconfig")
    assert calls.read_text().splitlines()[-1] == f"kind export kubeconfig --name akua --kubeconfig {tmp_path}/kubeconfig"


def test_images_are_loaded_from_archives(calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind.load(tmp_path / "akua.tar")
    assert calls.read_text() == f"kind load image-archive {tmp_path}/akua.tar --name akua\n"
    monkeypatch.setenv("BROKEN", "yes")
    with pytest.raises(ClusterError, match=r"kind load image-archive .* failed"):
        kind.load(tmp_path / "akua.tar")


def test_down_removes_the_cluster_and_its_kubeconfig(calls: Path, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    kind.down(kubeconfig)
    assert calls.read_text() == f"kind delete cluster --name akua --kubeconfig {kubeconfig}\n"
    assert not kubeconfig.exists()


def test_an_engine_is_asked_and_not_only_its_client(calls: Path) -> None:
    assert kind.docker_answers()
    assert calls.read_text() == "docker version --format {{.Server.Version}}\n"


def test_the_configuration_is_one_node_whose_containerd_reads_what_node_trust_writes() -> None:
    configuration = yaml.safe_load(kind.CONFIGURATION.read_text())
    assert [node["role"] for node in configuration["nodes"]] == ["control-plane"]
    assert 'config_path = "/etc/containerd/certs.d"' in configuration["containerdConfigPatches"][0]

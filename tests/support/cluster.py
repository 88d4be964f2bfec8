"""A real node for tests: AKUA_TEST_KUBECONFIG's cluster, or that of `hack/cluster up` (started where it can be)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hack.one_node import binaries, network
from tests.support.kubernetes import kubectl_program

Answer = TypeVar("Answer")
HACK = Path(__file__).parents[2] / "hack"
HACK_CLUSTER = HACK / "cluster"
BUSYBOX_IMAGE = "localhost/busybox:dev"  # what hack/cluster puts on the node; use it with imagePullPolicy Never


@dataclass(frozen=True, slots=True)
class RealCluster:
    """`kubeconfig` is an administrator's."""

    kubeconfig: Path

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        """kubectl's standard output; with `check=False` its standard error too."""
        done = self.run(*arguments, input=input)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def run(self, *arguments: str, input: str | None = None, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """kubectl as it ends, whatever it says."""
        command = [str(kubectl_program()), "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(command, input=input, capture_output=True, text=True, check=False, timeout=seconds)

    def apply(self, *manifests: dict[str, Any]) -> str:
        """What kubectl says, its warnings included."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        done = self.run("apply", "-f", "-", input=text)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(*arguments)["items"]
        return found


@dataclass(frozen=True, slots=True)
class OneNode(RealCluster):
    """The node that `hack/cluster up` made on this machine, whose parts can be restarted and which takes images."""

    folder: Path

    @property
    def address(self) -> str:
        """Of the machine, towards its pods."""
        return network.own_address(for_node=True)

    @property
    def certs_d(self) -> Path:
        return self.folder / "containerd" / "certs.d"

    @property
    def static_pods(self) -> Path:
        return self.folder / "static-pods"

    def load(self, *archives: Path) -> None:
        hack("cluster", "load", *archives)

    def restart(self, part: str, *, kill: bool = False) -> None:
        """Returns when the API server answers again."""
        hack("cluster", "restart", part, *(["--kill"] if kill else []))

    def etcd_endpoint(self) -> str:
        daemons = json.loads((self.folder / "daemons.json").read_text())
        command = next(daemon["command"] for daemon in daemons if daemon["name"] == "etcd")
        return str(next(word.partition("=")[2] for word in command if word.startswith("--listen-client-urls=")))


def hack(script: str, *arguments: str | Path) -> str:
    """Standard output of one of our scripts for people; what it says while it works is shown."""
    command: list[str | Path] = [*([sys.executable] if script in ("cluster", "helm") else []), HACK / script, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=None, text=True, check=False)
    assert done.returncode == 0, f"hack/{script} {' '.join(map(str, arguments))} failed; what it said is above"
    return done.stdout.strip()


@contextmanager
def real_cluster() -> Iterator[RealCluster]:
    """The cluster, started when its programs are built already, and taken down again if it was. Skips loudly without on a
    laptop, fails in CI."""
    given = os.environ.get("AKUA_TEST_KUBECONFIG")
    if given:
        yield RealCluster(Path(given))
        return
    up_before = _kubeconfig() is not None
    able = sys.platform == "linux" and os.geteuid() == 0 and all(binaries.find(name) for name in binaries.PROGRAMS)
    if able or os.environ.get("CI"):
        done = subprocess.run([sys.executable, HACK_CLUSTER, "up"], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(done.stdout + done.stderr)
    found = _kubeconfig()
    if found is None:
        pytest.skip("no cluster: `hack/cluster up`, or set AKUA_TEST_KUBECONFIG")
    of_ours = (found.parent / "daemons.json").exists()
    try:
        yield OneNode(found, found.parent) if of_ours else RealCluster(found)
    finally:
        if not up_before and not os.environ.get("AKUA_TEST_KEEP"):
            hack("cluster", "down")


def _kubeconfig() -> Path | None:
    done = subprocess.run([sys.executable, HACK_CLUSTER, "kubeconfig"], capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def until(ask: Callable[[], Answer], *, seconds: float = 30, why: Callable[[], str] = str) -> Answer:
    """The first true answer; fails with the last one, and with what `why` says."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s; the last answer was {answer!r}\n{why()}")
        time.sleep(0.2)
    return answer

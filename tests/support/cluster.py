"""A real node for tests: AKUA_TEST_KUBECONFIG's cluster, or that of `hack/cluster up` (started where it can be)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hack.one_node import binaries
from tests.support.kubernetes import kubectl_program

Answer = TypeVar("Answer")
HACK_CLUSTER = Path(__file__).parents[2] / "hack" / "cluster"
BUSYBOX_IMAGE = "localhost/busybox:dev"  # what hack/cluster puts on the node; use it with imagePullPolicy Never


@dataclass(frozen=True, slots=True)
class RealCluster:
    """`kubeconfig` is an administrator's."""

    kubeconfig: Path

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        """kubectl's standard output; with `check=False` its standard error too."""
        command = [str(kubectl_program()), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, check=False, timeout=120)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, *manifests: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found


def requires_cluster() -> RealCluster:
    """The cluster, started when its programs are built already. Skips loudly without on a laptop, fails in CI."""
    given = os.environ.get("AKUA_TEST_KUBECONFIG")
    if given:
        return RealCluster(Path(given))
    able = sys.platform == "linux" and os.geteuid() == 0 and all(binaries.find(name) for name in binaries.PROGRAMS)
    if able or os.environ.get("CI"):
        done = subprocess.run([sys.executable, HACK_CLUSTER, "up"], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(done.stdout + done.stderr)
    found = subprocess.run([sys.executable, HACK_CLUSTER, "kubeconfig"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("no cluster: `hack/cluster up`, or set AKUA_TEST_KUBECONFIG")
    return RealCluster(Path(found.stdout.strip()))


def until(ask: Callable[[], Answer], *, seconds: float = 30) -> Answer:
    """The first true answer; fails with the last one."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s; the last answer was {answer!r}")
        time.sleep(0.1)
    return answer

"""One real API server for all tests of this folder, with the base in it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.api_requests import Answer, ApiRequests, api_requests
from tests.support.kubernetes import ControlPlane, audit_log, running_control_plane
from tests.support.kustomize import built

# Nobody would start the workloads here, and the webhook would not answer.
# What our own parts ask for; nobody's values.
_AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts:akua-system", "system:serviceaccounts:akua-node-trust"]
  - level: None
"""
_LEFT_OUT = ("Deployment", "DaemonSet", "StatefulSet", "MutatingWebhookConfiguration", "PodDisruptionBudget")


@pytest.fixture(scope="session")
def control_plane_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("control-plane")


@pytest.fixture(scope="session")
def control_plane(control_plane_folder: Path) -> Iterator[ControlPlane]:
    with running_control_plane(control_plane_folder, audited=_AUDIT_POLICY) as plane:
        yield plane


@pytest.fixture(scope="session")
def asked(control_plane_folder: Path) -> Callable[[], list[dict[str, Any]]]:
    """Every request of our ServiceAccounts so far, as the API server's audit log has it."""
    return lambda: [json.loads(line) for line in audit_log(control_plane_folder).read_text().splitlines()]


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane) -> ControlPlane:
    """base, fail-closed and node-trust, as a person applies them; without what only a node would run."""
    manifests = [each for each in built("base+fail-closed+node-trust") if each["kind"] not in _LEFT_OUT]
    namespaces = [each for each in manifests if each["kind"] == "Namespace"]
    for documents in (namespaces, manifests):
        control_plane.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(documents))
    return control_plane


@pytest.fixture(scope="session")
def api(installed: ControlPlane) -> Iterator[ApiRequests]:
    with api_requests(installed) as requests:
        yield requests


def once(question: Callable[[], Answer], says: str) -> Answer:
    """The answer, once it contains `says`: what was just made takes a moment to be in force."""
    deadline = time.monotonic() + 30
    while says not in (answer := question()).message and time.monotonic() < deadline:
        time.sleep(0.1)
    assert says in answer.message
    return answer

"""One real API server for all tests of this folder, with the base in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.support.api_requests import Answer, ApiRequests, api_requests
from tests.support.kubernetes import ControlPlane, control_plane
from tests.support.kustomize import built

__all__ = ["control_plane"]
# Nobody would start the workloads here, and the webhook would not answer.
_LEFT_OUT = ("Deployment", "DaemonSet", "StatefulSet", "MutatingWebhookConfiguration", "PodDisruptionBudget")


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

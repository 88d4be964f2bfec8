"""Every build, as the API server takes it: a server-side dry run, and what Pod Security says of the pods."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from tests.manifests.test_builds import is_foreign
from tests.support.kubernetes import ControlPlane, kubectl_program
from tests.support.kustomize import BUILDS, Manifest, built, of_kind


def dry_run(plane: ControlPlane, manifests: list[Manifest]) -> tuple[int, str, str]:
    command = [str(kubectl_program()), "--kubeconfig", str(plane.kubeconfig)]
    command += ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"]
    documents = yaml.safe_dump_all(manifests)
    done = subprocess.run(command, input=documents, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("build", BUILDS)
def test_the_api_server_takes_every_object_without_a_warning(installed: ControlPlane, build: str) -> None:
    """Without the operators' own kinds, whose definitions come with them."""
    manifests = [each for each in built(build) if not is_foreign(each)]
    status, said, complaints = dry_run(installed, manifests)
    assert (status, complaints) == (0, "")
    assert len(said.splitlines()) == len(manifests)


def test_pod_security_is_on_and_would_say_so(installed: ControlPlane) -> None:
    """The test above relies on the server's warnings about pods that the namespace's level forbids."""
    manifests = of_kind(built("base"), "Deployment")
    del manifests[0]["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    _, _, complaints = dry_run(installed, manifests)
    assert "would violate PodSecurity" in complaints
    assert "runAsNonRoot" in complaints

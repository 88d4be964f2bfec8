"""What `akua explain` says of the one gate that only a pull asks: the upstream's last answer."""

from __future__ import annotations

from typing import Any

import pytest

from cli.preview.explain import verdict
from control.explanation import last_answer
from registry_access.model.decision import Decision
from registry_access.model.names.image_reference import parse_image_reference
from registry_access.model.resources import Install, RegistryCredential
from registry_access.state.index import ResourceIndex

API = "registry.akua.dev/v1alpha1"
IMAGE = parse_image_reference("ghcr.io/acme/app:1")


def world(**condition: str) -> tuple[ResourceIndex, Install]:
    index = ResourceIndex()
    conditions: list[dict[str, Any]] = [{"type": "Verified", **condition}] if condition else []
    for kind, name, spec in (
        ("RegistryCredential", "ghcr", {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr"}),
        ("Install", "shop", {"repositories": ["ghcr.io/acme/app"]}),
    ):
        metadata = {"name": name, "namespace": "acme"}
        manifest = {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}
        read = RegistryCredential if kind == "RegistryCredential" else Install
        index.put(read.from_manifest(manifest | ({"status": {"conditions": conditions}} if read is RegistryCredential else {})))
    install = index.install("acme", "shop")
    assert install is not None
    return index, install


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({}, None),
        ({"status": "Unknown", "reason": "NotTriedYet"}, None),
        ({"status": "True", "reason": "Opened"}, "True"),
        ({"status": "False", "reason": "UpstreamUnauthorized", "message": "ghcr.io/acme/other: expired"}, "False"),
        ({"status": "False", "reason": "UpstreamDenied", "message": "ghcr.io/acme/app: denied"}, "False"),
        ({"status": "False", "reason": "UpstreamDenied", "message": "ghcr.io/acme/other: denied"}, None),
    ],
)
def test_the_last_answer_is_the_credentials_as_far_as_it_concerns_the_image(condition: dict[str, str], said: str | None) -> None:
    index, install = world(**condition)
    answered = last_answer(index, install, IMAGE)
    assert (answered.status if answered else None) == said


def test_what_the_upstream_refuses_is_not_said_to_be_pullable() -> None:
    index, install = world(status="False", reason="UpstreamDenied", message="ghcr.io/acme/app: the token lacks a scope")
    found = str(verdict(Decision("dec_1", ()), "shop", str(IMAGE), last_answer(index, install, IMAGE)))
    assert "may pull" not in found
    assert "the last pull failed at the upstream: see gate 8" in found

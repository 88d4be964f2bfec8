"""Pods that run images which came through an install, read off pods as admission leaves them."""

from __future__ import annotations

from typing import Any

import jsonpatch
import pytest

from registry_access.model.resources import PullGrant, resource_from_manifest
from tests.support.install_sync import manifest
from webhook.admission.rewriting import rewrite_pod
from webhook.attribution import pulling_pod

HOST = "oci.akua.dev"


def pod(*images: str, **metadata: Any) -> dict[str, Any]:
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]
    return {"metadata": {"name": "web-1", "namespace": "prod", **metadata}, "spec": {"containers": containers}}


def admitted(made: dict[str, Any], install: str = "shop") -> dict[str, Any]:
    spec = {"host": HOST, "images": ["ghcr.io/acme/*"], "pullSecret": f"akua-pull-{install}"}
    grant = resource_from_manifest(manifest("PullGrant", install, spec, "prod"))
    assert isinstance(grant, PullGrant)
    operations = rewrite_pod(made, {}, "CREATE", "", [grant]).operations
    result: dict[str, Any] = jsonpatch.apply_patch(made, operations)
    return result


def test_what_admission_rewrote_is_found_again_as_it_was_written() -> None:
    found = pulling_pod(admitted(pod("ghcr.io/acme/web:1", "ghcr.io/acme/web:1", "redis")), ())
    assert found is not None
    assert (found.namespace, found.name, found.installs, found.phase, found.node) == (
        "prod",
        "web-1",
        frozenset({"shop"}),
        "Unknown",
        "",
    )
    assert [(image.written, image.upstream.repository) for image in found.images] == [("ghcr.io/acme/web:1", "acme/web")]


def test_an_image_that_its_author_wrote_as_the_proxy_has_it_is_found_by_its_secret() -> None:
    written = f"{HOST}/ghcr.io/acme/web:1"
    found = pulling_pod(admitted(pod(written)), {HOST})
    assert found is not None
    assert (found.installs, [image.written for image in found.images]) == (frozenset({"shop"}), [written])
    assert (found.images[0].upstream.registry, found.images[0].upstream.tag) == ("ghcr.io", "1")


@pytest.mark.parametrize("image", ["ghcr.io/other/web:1", "redis", "other.host/ghcr.io/acme/web:1"])
def test_what_did_not_come_through_us_is_none_of_ours(image: str) -> None:
    assert pulling_pod(admitted(pod(image)), {HOST}) is None


@pytest.mark.parametrize("image", ["redis", "other.host/ghcr.io/acme/other:1", "other.host/a/b"])
def test_an_image_that_was_replaced_since_is_shown_as_it_is_now(image: str) -> None:
    made = admitted(pod("ghcr.io/acme/web:1", "ghcr.io/acme/side:1"))
    made["spec"]["containers"][1]["image"] = image
    found = pulling_pod(made, {HOST})
    assert found is not None
    assert [image.written for image in found.images] == ["ghcr.io/acme/web:1"]


@pytest.mark.parametrize(
    ("owner", "labels", "shown"),
    [
        (("ReplicaSet", "web-5d9c7b"), {"pod-template-hash": "5d9c7b"}, "Deployment/web"),
        (("ReplicaSet", "web-5d9c7b"), {}, "ReplicaSet/web-5d9c7b"),
        (("Job", "backup-29"), {}, "Job/backup-29"),
        (None, {}, ""),
    ],
)
def test_the_owner_is_what_a_person_would_restart(owner: tuple[str, str] | None, labels: dict[str, str], shown: str) -> None:
    owners = [{"kind": "Node", "name": "n", "controller": False}]
    owners += [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    found = pulling_pod(admitted(pod("ghcr.io/acme/web:1", ownerReferences=owners, labels=labels)), {HOST})
    assert found is not None
    assert found.owner == shown


def test_annotations_that_somebody_spoilt_do_no_harm() -> None:
    made = admitted(pod("ghcr.io/acme/web:1"))
    made["metadata"]["annotations"] = {"registry.akua.dev/original-images": "[", "registry.akua.dev/installs": ",,"}
    found = pulling_pod(made, {HOST})
    assert found is not None
    assert (found.installs, found.images[0].written) == (frozenset({"shop"}), f"{HOST}/ghcr.io/acme/web:1")
    for broken in ({}, {"metadata": None, "spec": None}, {"metadata": [], "spec": {"containers": "x"}}):
        assert pulling_pod(broken, {HOST}) is None

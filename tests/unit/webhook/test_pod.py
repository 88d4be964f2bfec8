"""The view of a pod: what it reads, and that nothing misshapen breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.pods import pod
from webhook.pod import Controller, Pod


def test_every_field_that_names_an_image_has_a_slot_and_a_place() -> None:
    found = Pod(
        pod(
            "a",
            "b",
            initContainers=[{"name": "init", "image": "c"}],
            ephemeralContainers=[{"image": "d"}],
            volumes=[{"name": "tmp", "emptyDir": {}}, {"name": "model", "image": {"reference": "e"}}],
        )
    )
    assert [(image.slot, image.image, image.ephemeral) for image in found.images] == [
        ("initContainers/init", "c", False),
        ("containers/c0", "a", False),
        ("containers/c1", "b", False),
        ("ephemeralContainers/0", "d", True),
        ("volumes/model", "e", False),
    ]
    assert found.images[-1].steps == ("spec", "volumes", 1, "image", "reference")


def test_names_owners_and_states() -> None:
    owner = {"kind": "ReplicaSet", "name": "web-5d9", "controller": True}
    found = Pod(
        {
            "metadata": {
                "generateName": "web-5d9-",
                "namespace": "prod",
                "labels": {"pod-template-hash": "5d9"},
                "ownerReferences": [{"kind": "X", "name": "y"}, owner],
            },
            "spec": {"nodeName": "node-1", "imagePullSecrets": [{"name": "mine"}]},
            "status": {"phase": "Running"},
        }
    )
    assert (found.name, found.namespace, found.node, found.phase) == ("web-5d9-*", "prod", "node-1", "Running")
    assert (str(found.controller), found.workload) == ("ReplicaSet/web-5d9", Controller("Deployment", "web"))
    assert found.pull_secrets == ("mine",)
    assert (Pod({}).name, Pod({}).phase, Pod({}).controller, bool(Pod({}))) == ("", "Unknown", None, False)


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"metadata": None, "spec": None},
        {"metadata": [], "spec": {"containers": "x", "volumes": [7], "imagePullSecrets": {"name": "x"}}},
        {"metadata": {"labels": [], "annotations": {"registry.akua.dev/original-images": "[" * 9000}, "ownerReferences": 7}},
        {"spec": {"containers": [{"image": 7}, None], "volumes": [{"image": "x"}, {"image": {"reference": []}}]}},
    ],
)
def test_what_is_misshapen_reads_as_absent(manifest: dict[str, Any]) -> None:
    found = Pod(manifest)
    assert (found.images, tuple(found.originals), found.pull_secrets, found.controller) == ((), (), (), None)
    assert not found.is_mirror
    assert not found.is_ours

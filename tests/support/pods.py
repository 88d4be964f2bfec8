"""Pods, grants and AdmissionReviews for tests of admission."""

from __future__ import annotations

import base64
import json
from typing import Any

import jsonpatch

from registry_access.model.resources import PullGrant
from tests.support import builders
from tests.support.builders import HOST as HOST


def grant(install: str = "shop", images: tuple[str, ...] = ("ghcr.io/acme/*",), **spec: Any) -> PullGrant:
    return builders.grant(install, images=list(images), **spec)


def pod_manifest(*images: str, namespace: str = "shop", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod that an API server takes, named web, with the containers c0, c1 and so on."""
    containers = [{"name": f"c{number}", "image": image, "imagePullPolicy": "Always"} for number, image in enumerate(images)]
    metadata = {"name": "web", "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers, **spec}}


def pod(*images: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]
    return {
        "metadata": {"name": "web", "namespace": "prod", "labels": {"app": "web"}},
        "spec": {"containers": containers, **spec},
    }


def patched(document: dict[str, Any], operations: Any) -> dict[str, Any]:
    """The document with the patch applied by an independent library, which also checks that every operation fits."""
    return dict(jsonpatch.apply_patch(document, operations))


def review(
    document: Any, *, old: Any = None, operation: str = "CREATE", subresource: str = "", dry_run: bool = False, kind: str = "Pod"
) -> bytes:
    request: dict[str, Any] = {
        "uid": "4d6f",
        "kind": {"group": "", "version": "v1", "kind": kind},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "subResource": subresource,
        "namespace": "prod",
        "operation": operation,
        "object": document,
        "oldObject": old,
        "dryRun": dry_run,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def operations_of(answer: bytes) -> list[dict[str, Any]]:
    response = json.loads(answer)["response"]
    assert response["allowed"] is True
    return list(json.loads(base64.b64decode(response["patch"]))) if "patch" in response else []

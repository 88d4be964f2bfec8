"""The pod that the demo creates, and the review that the API server would send for it."""

from __future__ import annotations

from typing import Any


def pod_of(storefront: str, worker: str) -> dict[str, Any]:
    """A pod as its author wrote it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "storefront", "namespace": "shop-prod"},
        "spec": {
            "initContainers": [{"name": "prepare", "image": worker}],
            "containers": [{"name": "web", "image": storefront}],
            "imagePullSecrets": [{"name": "their-own"}],
        },
    }


def creation_review(pod: dict[str, Any]) -> dict[str, Any]:
    """An AdmissionReview (admission.k8s.io/v1) of the pod's creation."""
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "demo",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "operation": "CREATE",
            "namespace": "shop-prod",
            "object": pod,
        },
    }

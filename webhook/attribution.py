"""Which pods run images that came through an install: read off the pods themselves, as admission left them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from registry_access.model.names.image_reference import ImageReference
from registry_access.model.names.proxied_reference import Proxied, from_proxied, to_proxied
from registry_access.model.resources.metadata import INSTALLS_ANNOTATION
from webhook.admission.pod_images import pod_images
from webhook.admission.rewriting import known_originals, pull_secrets
from webhook.install_sync.ownership import PULL_SECRET_PREFIX


@dataclass(frozen=True, slots=True)
class PulledImage:
    """`written` is the image as the pod's author wrote it, `upstream` what it stands for."""

    written: str
    upstream: ImageReference


@dataclass(frozen=True, slots=True)
class PullingPod:
    """`owner` is what a person would delete or restart, ``Deployment/shop``; "" when nobody would bring the pod back.

    `installs` are names; `node` is "" as long as the pod is not placed.
    """

    namespace: str
    name: str
    owner: str
    node: str
    phase: str
    installs: frozenset[str]
    images: tuple[PulledImage, ...]


def pulling_pod(pod: Mapping[str, Any], hosts: Collection[str]) -> PullingPod | None:
    """The pod, when it has images that admission rewrote, or that were written as they are at one of the proxy's `hosts`."""
    metadata = _mapping(pod.get("metadata"))
    annotations = {name: value for name, value in _mapping(metadata.get("annotations")).items() if isinstance(value, str)}
    originals = known_originals(annotations)
    images: list[PulledImage] = []
    for image in pod_images(pod):
        host, written = image.image.partition("/")[0], originals.get(image.slot, image.image)
        rewritten = to_proxied(written, host)
        if host in hosts or (isinstance(rewritten, Proxied) and rewritten.reference == image.image):
            upstream = from_proxied(image.image, host)
            images += [PulledImage(written, upstream)] if upstream is not None else []
    if not images:
        return None
    attached = (name.removeprefix(PULL_SECRET_PREFIX) for name in pull_secrets(pod) if name.startswith(PULL_SECRET_PREFIX))
    annotated = annotations.get(INSTALLS_ANNOTATION, "").split(",")
    return PullingPod(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
        owner=_owner(metadata),
        node=str(_mapping(pod.get("spec")).get("nodeName") or ""),
        phase=str(_mapping(pod.get("status")).get("phase") or "Unknown"),
        installs=frozenset(name for name in (*annotated, *attached) if name),
        images=tuple(dict.fromkeys(images)),
    )


def _owner(metadata: Mapping[str, Any]) -> str:
    """The pod's controller; of a Deployment's ReplicaSet (its name ends with the template's hash) the Deployment."""
    owners = metadata.get("ownerReferences")
    for owner in owners if isinstance(owners, list) else ():
        if isinstance(owner, dict) and owner.get("controller") is True:
            kind, name = str(owner.get("kind") or ""), str(owner.get("name") or "")
            template = _mapping(metadata.get("labels")).get("pod-template-hash")
            if kind == "ReplicaSet" and isinstance(template, str) and name.endswith(f"-{template}"):
                return f"Deployment/{name.removesuffix(f'-{template}')}"
            return f"{kind}/{name}"
    return ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

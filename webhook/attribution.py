"""Which pods run images that came through an install: read off the pods themselves, as admission left them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from registry_access.model.names.image_reference import ImageReference
from registry_access.model.names.proxied_reference import Proxied, from_proxied, to_proxied
from webhook.install_sync.objects.ownership import PULL_SECRET_PREFIX
from webhook.pod import Pod


@dataclass(frozen=True, slots=True)
class PulledImage:
    """`written` is the image as the pod's author wrote it, `upstream` what it stands for."""

    written: str
    upstream: ImageReference


@dataclass(frozen=True, slots=True)
class PullingPod:
    """`owner` is what a person deletes or restarts, such as ``Deployment/shop``; "" when nothing would recreate the pod.

    `installs` are names; `node` is "" until the pod is scheduled.
    """

    namespace: str
    name: str
    owner: str
    node: str
    phase: str
    installs: frozenset[str]
    images: tuple[PulledImage, ...]


def pulling_pod(manifest: Mapping[str, Any], hosts: Collection[str]) -> PullingPod | None:
    """The pod, when it has images that admission rewrote, or that its author wrote as they are at one of the proxy's `hosts`."""
    pod = Pod(manifest)
    images: list[PulledImage] = []
    for image in pod.images:
        host, written = image.image.partition("/")[0], pod.originals.get(image.slot, image.image)
        rewritten = to_proxied(written, host)
        if host in hosts or (isinstance(rewritten, Proxied) and rewritten.reference == image.image):
            upstream = from_proxied(image.image, host)
            images += [PulledImage(written, upstream)] if upstream is not None else []
    if not images:
        return None
    attached = {name.removeprefix(PULL_SECRET_PREFIX) for name in pod.pull_secrets if name.startswith(PULL_SECRET_PREFIX)}
    return PullingPod(
        namespace=pod.namespace,
        name=pod.name,
        owner=str(pod.workload or ""),
        node=pod.node,
        phase=pod.phase,
        installs=pod.installs | {name for name in attached if name},
        images=tuple(dict.fromkeys(images)),
    )

"""The one view of a pod: labels, annotations, images, pull Secrets, controller (core/v1 Pod).

A pod may come from anybody. Whatever is not shaped as the API says reads as absent: the API server refuses it anyway.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from registry_access.model.resources.metadata import INSTALLS_ANNOTATION, ORIGINAL_IMAGES_ANNOTATION, PART_LABEL

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class PodImage:
    """`slot` names the place whatever its position ("containers/web"); `steps` lead to the field in the manifest."""

    slot: str
    steps: tuple[str | int, ...]
    image: str

    @property
    def ephemeral(self) -> bool:
        return self.steps[1] == "ephemeralContainers"


@dataclass(frozen=True, slots=True)
class Controller:
    """The owner that recreates the pod, such as a ReplicaSet."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Pod:
    """Reads `manifest` when it is asked, and each part once. The manifest must not change meanwhile."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.manifest = manifest

    def __bool__(self) -> bool:
        """Whether there is a pod: reviews of a creation have no old one."""
        return bool(self.manifest)

    @property
    def metadata(self) -> Mapping[str, Any]:
        return _mapping(self.manifest.get("metadata"))

    @property
    def spec(self) -> Mapping[str, Any]:
        return _mapping(self.manifest.get("spec"))

    @property
    def namespace(self) -> str:
        return _text(self.metadata.get("namespace"))

    @property
    def name(self) -> str:
        """``shop-5d9-*`` while the API server has not completed a generated name; "" for none."""
        prefix = _text(self.metadata.get("generateName"))
        return _text(self.metadata.get("name")) or (f"{prefix}*" if prefix else "")

    @property
    def node(self) -> str:
        """ "" until the pod is scheduled."""
        return _text(self.spec.get("nodeName"))

    @property
    def phase(self) -> str:
        return _text(_mapping(self.manifest.get("status")).get("phase")) or "Unknown"

    @cached_property
    def labels(self) -> Mapping[str, str]:
        return _texts(self.metadata.get("labels"))

    @cached_property
    def annotations(self) -> Mapping[str, str]:
        return _texts(self.metadata.get("annotations"))

    @cached_property
    def images(self) -> tuple[PodImage, ...]:
        """Every field that names an image, in order: containers of all three kinds, and image volumes."""
        return tuple(_images(self.spec))

    @cached_property
    def pull_secrets(self) -> tuple[str, ...]:
        """The names of `imagePullSecrets`, in order."""
        return tuple(_text(reference.get("name")) for _, reference in _members(self.spec.get("imagePullSecrets")))

    @cached_property
    def originals(self) -> Mapping[str, str]:
        """The images as their author wrote them, by slot, as an annotation keeps them."""
        try:
            return _texts(json.loads(self.annotations.get(ORIGINAL_IMAGES_ANNOTATION, "{}")))
        except (ValueError, RecursionError):
            return _NOTHING

    @property
    def installs(self) -> frozenset[str]:
        """The installs that the images came through, as an annotation keeps them."""
        return frozenset(name for name in self.annotations.get(INSTALLS_ANNOTATION, "").split(",") if name)

    @property
    def is_mirror(self) -> bool:
        """The kubelet's report of a static pod. Changing it makes the kubelet fail."""
        return MIRROR_ANNOTATION in self.annotations

    @property
    def is_ours(self) -> bool:
        """One of our own pods, which must start without us."""
        return PART_LABEL in self.labels

    @property
    def controller(self) -> Controller | None:
        for _, owner in _members(self.metadata.get("ownerReferences")):
            if owner.get("controller") is True:
                return Controller(_text(owner.get("kind")), _text(owner.get("name")))
        return None

    @property
    def workload(self) -> Controller | None:
        """What a person restarts: the controller, or the Deployment of its ReplicaSet (whose name ends with a hash)."""
        found, template = self.controller, self.labels.get("pod-template-hash")
        if found and found.kind == "ReplicaSet" and template and found.name.endswith(f"-{template}"):
            return Controller("Deployment", found.name.removesuffix(f"-{template}"))
        return found


def _images(spec: Mapping[str, Any]) -> Iterator[PodImage]:
    for kind in _CONTAINER_LISTS:
        for position, container in _members(spec.get(kind)):
            if image := _text(container.get("image")):
                yield PodImage(f"{kind}/{container.get('name', position)}", ("spec", kind, position, "image"), image)
    for position, volume in _members(spec.get("volumes")):
        if reference := _text(_mapping(volume.get("image")).get("reference")):
            steps = ("spec", "volumes", position, "image", "reference")
            yield PodImage(f"volumes/{volume.get('name', position)}", steps, reference)


def _members(value: object) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if isinstance(value, list):
        yield from ((position, member) for position, member in enumerate(value) if isinstance(member, dict))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else _NOTHING


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> Mapping[str, str]:
    return {name: text for name, text in _mapping(value).items() if isinstance(text, str)}

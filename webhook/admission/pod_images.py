"""Every field of a pod that names an image: containers of all three kinds, and image volumes (core/v1 PodSpec)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from webhook.admission.json_patch import pointer

_LISTS = ("initContainers", "containers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class PodImage:
    """`slot` names the place whatever its position ("containers/web"), `path` is its JSON pointer now."""

    slot: str
    path: str
    image: str


def pod_images(pod: Mapping[str, Any]) -> Iterator[PodImage]:
    """The images of a pod, in order. What is not shaped as the API says is passed over: the API server will refuse it."""
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        return
    for kind in _LISTS:
        for position, container in _members(spec.get(kind)):
            image = container.get("image")
            if isinstance(image, str) and image:
                yield PodImage(f"{kind}/{container.get('name', position)}", pointer("spec", kind, position, "image"), image)
    for position, volume in _members(spec.get("volumes")):
        source = volume.get("image")
        if isinstance(source, dict) and isinstance(reference := source.get("reference"), str) and reference:
            path = pointer("spec", "volumes", position, "image", "reference")
            yield PodImage(f"volumes/{volume.get('name', position)}", path, reference)


def _members(value: object) -> Iterator[tuple[int, dict[str, Any]]]:
    if isinstance(value, list):
        yield from ((position, member) for position, member in enumerate(value) if isinstance(member, dict))

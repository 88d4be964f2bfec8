"""What becomes of a pod: which images are rewritten, which pull Secrets it gets, what its author is told. Pure.

Applying it to its own result changes nothing. On CREATE the pull Secrets are appended; afterwards `imagePullSecrets` cannot be
changed, so an image that an UPDATE or an ephemeral container brings is rewritten only when the pod has the Secret already.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from registry_access.model.names.proxied_reference import Proxied, Unchanged, UnchangedReason, from_proxied, to_proxied
from registry_access.model.resources import PullGrant
from registry_access.model.resources.metadata import (
    INSTALL_LABEL,
    INSTALLS_ANNOTATION,
    ORIGINAL_IMAGES_ANNOTATION,
    PART_LABEL,
)
from webhook.admission.json_patch import Operation, add, pointer, replace
from webhook.admission.pod_images import PodImage, pod_images

_KEPT_MAXIMUM = 512  # characters
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


class ImageOutcome(StrEnum):
    """What became of one image; metric labels."""

    REWRITTEN = "rewritten"
    ALREADY_PROXIED = "already-proxied"
    NOT_GRANTED = "not-granted"
    NO_SECRET = "no-secret"  # noqa: S105 - an outcome
    NOT_EXPRESSIBLE = "not-expressible"
    INVALID = "invalid"


@dataclass(slots=True)
class Rewriting:
    """`operations` is a JSON patch, `warnings` sentences for the pod's author, `outcomes` one for each image looked at."""

    operations: list[Operation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outcomes: list[ImageOutcome] = field(default_factory=list)
    grants: dict[str, PullGrant] = field(default_factory=dict)
    originals: dict[str, str] = field(default_factory=dict)


def rewrite_pod(
    pod: Mapping[str, Any], old_pod: Mapping[str, Any], operation: str, subresource: str, grants: Sequence[PullGrant]
) -> Rewriting:
    """The rewriting of `pod` with the pull grants of its namespace. `old_pod` is {} on CREATE."""
    rewriting = Rewriting()
    if not grants or _is_left_alone(pod):
        return rewriting
    labels = _labels(pod)
    selected = [grant for grant in grants if grant.pod_selector.matches(labels)]
    if not selected:
        return rewriting
    creating = operation == "CREATE" and not subresource
    for image in _images_to_look_at(pod, old_pod, operation, subresource):
        _rewrite_image(image, selected, rewriting, None if creating else pull_secrets(pod))
    if creating:
        _attach_secrets(pod, rewriting)
    if not subresource:
        _annotate(pod, rewriting)
    return rewriting


def _is_left_alone(pod: Mapping[str, Any]) -> bool:
    """Static pods' mirrors cannot be changed; our own pods must start without us."""
    return MIRROR_ANNOTATION in _metadata_map(pod, "annotations") or PART_LABEL in _labels(pod)


def _images_to_look_at(
    pod: Mapping[str, Any], old_pod: Mapping[str, Any], operation: str, subresource: str
) -> Sequence[PodImage]:
    images = list(pod_images(pod))
    if subresource == "ephemeralcontainers":
        images = [image for image in images if image.slot.startswith("ephemeralContainers/")]
    elif subresource or operation not in ("CREATE", "UPDATE"):
        return []
    if operation == "CREATE" and not subresource:
        return images
    before = {image.slot: image.image for image in pod_images(old_pod)}
    return [image for image in images if before.get(image.slot) != image.image]


def _rewrite_image(image: PodImage, grants: Sequence[PullGrant], rewriting: Rewriting, secrets: Sequence[str] | None) -> None:
    """Decides about one image. `secrets` are the pod's when they cannot be added to any more, else None."""
    named = image.image.partition("/")[0].lower()
    host = next((grant.host for grant in grants if grant.host == named), grants[0].host)
    proxied = _at(host, image.image)
    if isinstance(proxied, Unchanged):
        _leave(image, proxied, host, grants, rewriting)
        return
    upstream = proxied.upstream
    covering = [grant for grant in grants if grant.covers(upstream.registry, upstream.repository)]
    if not covering:
        rewriting.outcomes.append(ImageOutcome.NOT_GRANTED)
        if any(pattern.registry == upstream.registry for grant in grants for pattern in grant.images):
            rewriting.warnings.append(f"{image.image} is not among what this namespace was granted; it is pulled as it stands")
        return
    if secrets is not None and not any(grant.pull_secret in secrets for grant in covering):
        rewriting.outcomes.append(ImageOutcome.NO_SECRET)
        rewriting.warnings.append(f"{image.image} is left as it is: this pod was created without the pull Secret; create it anew")
        return
    if covering[0].host != host:
        proxied = _at(covering[0].host, image.image)
        if isinstance(proxied, Unchanged):
            _leave(image, proxied, covering[0].host, grants, rewriting)
            return
    rewriting.outcomes.append(ImageOutcome.REWRITTEN)
    rewriting.operations.append(replace(image.path, proxied.reference))
    rewriting.originals[image.slot] = image.image
    _use(covering, image, rewriting)


def _at(host: str, image: str) -> Proxied | Unchanged:
    """See `to_proxied`. A cluster's pods come with the same few images again and again; an endless name is not worth keeping."""
    return _known_at(host, image) if len(image) <= _KEPT_MAXIMUM else to_proxied(image, host)


@lru_cache(maxsize=4096)
def _known_at(host: str, image: str) -> Proxied | Unchanged:
    return to_proxied(image, host)


def _leave(image: PodImage, unchanged: Unchanged, host: str, grants: Sequence[PullGrant], rewriting: Rewriting) -> None:
    """An image that keeps its name: one at the proxy already still needs its Secret, the others' authors are told why."""
    if unchanged.reason is UnchangedReason.ALREADY_PROXIED:
        rewriting.outcomes.append(ImageOutcome.ALREADY_PROXIED)
        upstream = from_proxied(image.image, host)
        if upstream is not None:
            _use([grant for grant in grants if grant.covers(upstream.registry, upstream.repository)], image, rewriting)
        return
    invalid = unchanged.reason is UnchangedReason.INVALID
    rewriting.outcomes.append(ImageOutcome.INVALID if invalid else ImageOutcome.NOT_EXPRESSIBLE)
    rewriting.warnings.append(f"{image.image} is left as it is: {unchanged.detail}")


def _use(covering: Sequence[PullGrant], image: PodImage, rewriting: Rewriting) -> None:
    for grant in covering:
        rewriting.grants.setdefault(grant.metadata.name, grant)
    if len(covering) > 1 and image.slot in rewriting.originals:
        names = ", ".join(_install(grant) for grant in covering)
        rewriting.warnings.append(f"{image.image} is granted by several installs ({names}); their tokens are tried in turn")


def _attach_secrets(pod: Mapping[str, Any], rewriting: Rewriting) -> None:
    present = pull_secrets(pod)
    missing = [name for name in dict.fromkeys(grant.pull_secret for grant in rewriting.grants.values()) if name not in present]
    if not missing:
        return
    spec = pod.get("spec")
    if isinstance(spec, dict) and isinstance(spec.get("imagePullSecrets"), list):
        rewriting.operations.extend(add(pointer("spec", "imagePullSecrets", "-"), {"name": name}) for name in missing)
    else:
        rewriting.operations.append(add(pointer("spec", "imagePullSecrets"), [{"name": name} for name in missing]))


def _annotate(pod: Mapping[str, Any], rewriting: Rewriting) -> None:
    """Keeps the images as written, and the installs they came through, in two annotations."""
    if not rewriting.originals:
        return
    present = _metadata_map(pod, "annotations")
    originals = known_originals(present) | rewriting.originals
    installs = {name for name in present.get(INSTALLS_ANNOTATION, "").split(",") if name}
    installs |= {_install(grant) for grant in rewriting.grants.values()}
    wanted = {
        ORIGINAL_IMAGES_ANNOTATION: json.dumps(originals, sort_keys=True, separators=(",", ":")),
        INSTALLS_ANNOTATION: ",".join(sorted(installs)),
    }
    changed = {name: value for name, value in wanted.items() if present.get(name) != value}
    if not isinstance(pod.get("metadata"), dict):
        rewriting.operations.append(add(pointer("metadata"), {"annotations": changed}))
    elif not present:
        rewriting.operations.append(add(pointer("metadata", "annotations"), changed))
    else:
        rewriting.operations.extend(add(pointer("metadata", "annotations", name), value) for name, value in changed.items())


def known_originals(annotations: Mapping[str, str]) -> dict[str, str]:
    """The images as written, by slot, that a pod's annotations keep."""
    try:
        known = json.loads(annotations.get(ORIGINAL_IMAGES_ANNOTATION, "{}"))
    except (ValueError, RecursionError):
        return {}
    return {slot: image for slot, image in known.items() if isinstance(image, str)} if isinstance(known, dict) else {}


def _install(grant: PullGrant) -> str:
    return grant.metadata.labels.get(INSTALL_LABEL, grant.metadata.name)


def pull_secrets(pod: Mapping[str, Any]) -> list[str]:
    """The names of a pod's `imagePullSecrets`, in order."""
    spec = pod.get("spec")
    references = spec.get("imagePullSecrets") if isinstance(spec, dict) else None
    if not isinstance(references, list):
        return []
    return [name for item in references if isinstance(item, dict) and isinstance(name := item.get("name"), str)]


def _labels(pod: Mapping[str, Any]) -> Mapping[str, str]:
    return _metadata_map(pod, "labels")


def _metadata_map(pod: Mapping[str, Any], name: str) -> Mapping[str, str]:
    metadata = pod.get("metadata")
    values = metadata.get(name) if isinstance(metadata, dict) else None
    if not isinstance(values, dict):
        return {}
    return {key: value for key, value in values.items() if isinstance(value, str)}

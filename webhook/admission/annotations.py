"""What admission notes on a pod. A note must never get the pod refused: what does not fit is left out (core/v1 ObjectMeta)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from registry_access.model.resources.metadata import INSTALLS_ANNOTATION, ORIGINAL_IMAGES_ANNOTATION
from webhook.admission.json_patch import Operation, add, pointer, remove
from webhook.pod import Pod

TOTAL_MAXIMUM = 262_144  # bytes of all keys and values together (apimachinery, validation.TotalAnnotationSizeLimitB)


def annotation_operations(pod: Pod, originals: Mapping[str, str], installs: Collection[str]) -> tuple[list[Operation], bool]:
    """The patch that makes the two annotations say this, and whether they had to be left out because they do not fit.

    Annotations that would say nothing, or do not fit, are removed: old ones would be wrong.
    """
    wanted = {
        INSTALLS_ANNOTATION: ",".join(sorted(installs)),
        ORIGINAL_IMAGES_ANNOTATION: json.dumps(originals, sort_keys=True, separators=(",", ":")) if originals else "",
    }
    present = pod.metadata.get("annotations")
    present = present if isinstance(present, dict) else {}
    others = sum(_size(name, value) for name, value in present.items() if name not in wanted)
    fits = others + sum(_size(name, value) for name, value in wanted.items()) <= TOTAL_MAXIMUM
    kept = {name: value for name, value in wanted.items() if value and fits}
    changed = {name: value for name, value in kept.items() if present.get(name) != value}
    if not pod.metadata and changed:
        return [add(pointer("metadata"), {"annotations": changed})], not fits
    if not present and changed:
        return [add(pointer("metadata", "annotations"), changed)], not fits
    operations = [add(pointer("metadata", "annotations", name), value) for name, value in changed.items()]
    stale = [name for name in wanted if name in present and name not in kept]
    return operations + [remove(pointer("metadata", "annotations", name)) for name in stale], not fits


def _size(name: str, value: object) -> int:
    return len(name.encode()) + (len(value.encode()) if isinstance(value, str) else 0)

"""What becomes of a pod: which images are rewritten, which pull Secrets it gets, what its author is told. Pure.

Each image gets a verdict of its own; `rewrite_pod` folds the verdicts into one JSON patch. Applied to its own result it changes
nothing. On CREATE the pull Secrets are appended. Later `imagePullSecrets` cannot change, so an image that an UPDATE or an
ephemeral container brings is rewritten only when the pod has the Secret already.

The work is linear in the pod and does not depend on how many grants the namespace has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from registry_access.model.names.image_reference import ImageReference
from registry_access.model.names.proxied_reference import (
    Proxied,
    Unchanged,
    UnchangedReason,
    as_kubelet_matches,
    from_proxied,
    to_proxied,
)
from registry_access.model.names.registry_host import is_registry_host, normalize_registry_host
from registry_access.model.resources import PullGrant
from registry_access.model.resources.metadata import INSTALL_LABEL, ORIGINAL_IMAGES_ANNOTATION
from webhook.admission.annotations import annotation_operations
from webhook.admission.grant_index import MAXIMUM_GRANTS, GrantIndex, Selection
from webhook.admission.json_patch import Operation, add, pointer, replace
from webhook.pod import Pod, PodImage

MAXIMUM_IMAGES = 1000  # of one pod; a node runs far fewer
MAXIMUM_WARNINGS = 16
_REFERENCE_MAXIMUM = 1024  # characters: a host, a repository of 255, a tag of 128, a digest of 135
_SHOWN_MAXIMUM = 120


class ImageOutcome(StrEnum):
    """What became of one image; metric labels."""

    REWRITTEN = "rewritten"
    ALREADY_PROXIED = "already-proxied"
    NOT_GRANTED = "not-granted"
    NO_SECRET = "no-secret"  # noqa: S105 - an outcome
    NOT_EXPRESSIBLE = "not-expressible"
    INVALID = "invalid"
    TOO_MANY = "too-many"


@dataclass(frozen=True, slots=True)
class Verdict:
    """About one image: the name that it gets (its own when nothing changes), and the grants that it is pulled with."""

    outcome: ImageOutcome
    image: str
    upstream: ImageReference | None = None
    grants: tuple[PullGrant, ...] = ()
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Pull:
    """An upstream image that the pod will pull through the proxy because it was rewritten, and with whose tokens."""

    upstream: ImageReference
    grants: tuple[PullGrant, ...]


@dataclass(slots=True)
class Rewriting:
    """`operations` is a JSON patch, `warnings` sentences for the pod's author, `outcomes` one for each image looked at.

    `originals` are the images that were rewritten, by slot, and `pulls` what they stand for. `grants` are by name.
    """

    operations: list[Operation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outcomes: list[ImageOutcome] = field(default_factory=list)
    grants: dict[str, PullGrant] = field(default_factory=dict)
    originals: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, Pull] = field(default_factory=dict)

    def warn(self, text: str) -> None:
        if text and len(self.warnings) < MAXIMUM_WARNINGS:
            self.warnings.append(text)


def rewrite_pod(
    pod: Mapping[str, Any],
    old_pod: Mapping[str, Any],
    operation: str,
    subresource: str,
    grants: GrantIndex | Sequence[PullGrant],
) -> Rewriting:
    """The rewriting of `pod` with the pull grants of its namespace. `old_pod` is {} on CREATE."""
    rewriting = Rewriting()
    index = grants if isinstance(grants, GrantIndex) else GrantIndex(grants)
    admitted, old = Pod(pod), Pod(old_pod)
    if admitted.is_mirror or admitted.is_ours or not _concerns_images(operation, subresource):
        return rewriting
    selection = index.select(admitted.labels)
    if selection.first is None and ORIGINAL_IMAGES_ANNOTATION not in admitted.annotations:
        return rewriting
    creating = operation == "CREATE"
    attached = None if creating else frozenset((old or admitted).pull_secrets)
    brought = _brought(admitted, old, creating=creating, ephemeral=bool(subresource)) if selection.first else ()
    now = {image.slot: image.image for image in admitted.images}
    judged: dict[str, Verdict] = {}
    for image in brought[:MAXIMUM_IMAGES]:
        verdict = judged.get(image.image)
        if verdict is None:
            verdict = judged[image.image] = judge(image.image, selection, attached)
        _fold(image, verdict, rewriting)
        now[image.slot] = verdict.image
    if len(brought) > MAXIMUM_IMAGES:
        _leave_excess(len(brought) - MAXIMUM_IMAGES, rewriting)
    if creating:
        _attach_secrets(admitted, rewriting)
    elif not subresource:
        _put_secrets_back(admitted, old, index, rewriting)
    if not subresource:
        _annotate(admitted, old, now, selection, attached, rewriting)
    return rewriting


def judge(image: str, grants: Selection, attached: Collection[str] | None) -> Verdict:
    """What becomes of one image. `attached` are the pod's pull Secrets once none can be added, else None."""
    if len(image) > _REFERENCE_MAXIMUM:
        return _left(ImageOutcome.INVALID, image, f"it is longer than {_REFERENCE_MAXIMUM} characters")
    host = _host_of(image, grants)
    proxied = _at(host, image)
    if isinstance(proxied, Unchanged):
        return _unchanged(image, proxied, host, grants, attached)
    upstream = proxied.upstream
    covering = grants.covering(upstream.registry, upstream.repository)
    if not covering:
        warned = grants.has_registry(upstream.registry)
        told = f"{_shown(image)} is not among what this namespace was granted; it is pulled as written" if warned else ""
        return Verdict(ImageOutcome.NOT_GRANTED, image, warning=told)
    usable = _usable(covering, attached)
    if not usable:
        told = "this pod was created without the pull Secret; delete it and create it again"
        return _left(ImageOutcome.NO_SECRET, image, told)
    if usable[0].host != host:
        proxied = _at(usable[0].host, image)
        if isinstance(proxied, Unchanged):
            return _unchanged(image, proxied, usable[0].host, grants, attached)
    return Verdict(ImageOutcome.REWRITTEN, proxied.reference, upstream, usable, _shared(image, usable))


def _unchanged(image: str, unchanged: Unchanged, host: str, grants: Selection, attached: Collection[str] | None) -> Verdict:
    """An image that stays at its registry. One at the proxy already still needs its Secret, and the host as the Secret has it."""
    if unchanged.reason is not UnchangedReason.ALREADY_PROXIED:
        invalid = unchanged.reason is UnchangedReason.INVALID
        return _left(ImageOutcome.INVALID if invalid else ImageOutcome.NOT_EXPRESSIBLE, image, unchanged.detail)
    upstream = from_proxied(image, host)
    covering = grants.covering(upstream.registry, upstream.repository) if upstream else ()
    usable = tuple(grant for grant in _usable(covering, attached) if grant.host == host)
    return Verdict(ImageOutcome.ALREADY_PROXIED, as_kubelet_matches(image, host) if usable else image, upstream, usable)


def _left(outcome: ImageOutcome, image: str, why: str) -> Verdict:
    return Verdict(outcome, image, warning=f"{_shown(image)} is left as it is: {why}")


def _usable(covering: tuple[PullGrant, ...], attached: Collection[str] | None) -> tuple[PullGrant, ...]:
    return covering if attached is None else tuple(grant for grant in covering if grant.pull_secret in attached)


def _shared(image: str, grants: Sequence[PullGrant]) -> str:
    if len(grants) == 1:
        return ""
    names = ", ".join(_install(grant) for grant in grants)
    more = f"; at most {MAXIMUM_GRANTS} are used" if len(grants) == MAXIMUM_GRANTS else ""
    return f"{_shown(image)} is granted by several installs ({names}); their tokens are tried in turn{more}"


def _shown(image: str) -> str:
    return image if len(image) <= _SHOWN_MAXIMUM else f"{image[: _SHOWN_MAXIMUM - 3]}..."


def _host_of(image: str, grants: Selection) -> str:
    """The proxy's host that the image names already, else the first grant's."""
    written = image.partition("/")[0]
    if (":" in written or not written.islower()) and is_registry_host(written):
        written = normalize_registry_host(written)
    return written if grants.index.is_host(written) or grants.first is None else grants.first.host


@lru_cache(maxsize=4096)
def _at(host: str, image: str) -> Proxied | Unchanged:
    """See `to_proxied`. A cluster's pods bring the same few images again and again."""
    return to_proxied(image, host)


def _concerns_images(operation: str, subresource: str) -> bool:
    return (operation, subresource) in (("CREATE", ""), ("UPDATE", ""), ("UPDATE", "ephemeralcontainers"))


def _brought(pod: Pod, old: Pod, *, creating: bool, ephemeral: bool) -> Sequence[PodImage]:
    """The images that the request brings: all of a new pod, of a changed one those that differ from before."""
    if creating:
        return pod.images
    before = {image.slot: image.image for image in old.images}
    images = (image for image in pod.images if image.ephemeral or not ephemeral)
    return [image for image in images if before.get(image.slot) != image.image]


def _fold(image: PodImage, verdict: Verdict, rewriting: Rewriting) -> None:
    rewriting.outcomes.append(verdict.outcome)
    rewriting.warn(verdict.warning)
    for grant in verdict.grants:
        rewriting.grants.setdefault(grant.metadata.name, grant)
    if verdict.image != image.image and verdict.upstream is not None:
        rewriting.operations.append(replace(pointer(*image.steps), verdict.image))
        rewriting.originals[image.slot] = image.image
        rewriting.pulls[image.image] = Pull(verdict.upstream, verdict.grants)


def _leave_excess(count: int, rewriting: Rewriting) -> None:
    rewriting.outcomes.extend([ImageOutcome.TOO_MANY] * count)
    rewriting.warn(f"the pod has more than {MAXIMUM_IMAGES} images; {count} of them are left as they are")


def _attach_secrets(pod: Pod, rewriting: Rewriting) -> None:
    wanted = dict.fromkeys(grant.pull_secret for grant in rewriting.grants.values())
    present = frozenset(pod.pull_secrets)  # as many as the author likes, and wanted ones too
    missing = [name for name in wanted if name not in present]
    if not missing:
        return
    if isinstance(pod.spec.get("imagePullSecrets"), list):
        rewriting.operations.extend(add(pointer("spec", "imagePullSecrets", "-"), {"name": name}) for name in missing)
    else:
        rewriting.operations.append(add(pointer("spec", "imagePullSecrets"), [{"name": name} for name in missing]))


def _put_secrets_back(pod: Pod, old: Pod, index: GrantIndex, rewriting: Rewriting) -> None:
    """`kubectl replace` sends the author's own manifest, which has never had our Secrets; without them the update is refused."""
    remaining = iter(old.pull_secrets)
    if len(pod.pull_secrets) >= len(old.pull_secrets) or not all(name in remaining for name in pod.pull_secrets):
        return
    left_out = set(old.pull_secrets).difference(pod.pull_secrets)
    if pod.spec and any(index.is_pull_secret(name) for name in left_out):
        rewriting.operations.append(add(pointer("spec", "imagePullSecrets"), old.spec["imagePullSecrets"]))


def _annotate(
    pod: Pod,
    old: Pod,
    now: Mapping[str, str],
    selection: Selection,
    attached: Collection[str] | None,
    rewriting: Rewriting,
) -> None:
    """Keeps the images as written, and the installs they came through, in two annotations: of the images that are there now."""
    known = {**old.originals, **pod.originals}
    if not known and not rewriting.originals and not pod.installs:
        return
    originals = dict(rewriting.originals)
    for slot, image in now.items():
        if slot not in originals and _stands_for(known.get(slot, ""), image):
            originals[slot] = known[slot]
    installs = {_install(grant) for grant in rewriting.grants.values()}
    if attached is not None:
        installs |= _installs_of_the_rest(originals, now, selection, attached, old.installs | pod.installs)
    operations, left_out = annotation_operations(pod, originals, installs if originals else ())
    rewriting.operations.extend(operations)
    if left_out:
        rewriting.warn("the pod's annotations are full; the original images are not kept in them")


def _stands_for(written: str, image: str) -> bool:
    """Whether `image` is what `written` was rewritten to."""
    if not written or len(written) > _REFERENCE_MAXIMUM:
        return False
    host = image.partition("/")[0]
    proxied = _at(host, written)
    return proxied.reference == image if isinstance(proxied, Proxied) else as_kubelet_matches(written, host) == image != written


def _installs_of_the_rest(
    originals: Mapping[str, str],
    now: Mapping[str, str],
    selection: Selection,
    attached: Collection[str],
    known: Collection[str],
) -> set[str]:
    """The installs of images that an update leaves alone. Those of a grant that is gone are kept: nobody can tell any more."""
    installs: set[str] = set()
    for slot in originals:
        image = now[slot]
        upstream = from_proxied(image, image.partition("/")[0])
        covering = _usable(selection.covering(upstream.registry, upstream.repository), attached) if upstream else ()
        installs |= {_install(grant) for grant in covering} or set(known)
    return installs


def _install(grant: PullGrant) -> str:
    return grant.metadata.labels.get(INSTALL_LABEL, grant.metadata.name)

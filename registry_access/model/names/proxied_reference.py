"""An image reference as it reads behind the proxy: ``{host}/{registry}/{repository}[:tag][@digest]``, and back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from registry_access.model.errors import InvalidImageReference, InvalidRegistryHost
from registry_access.model.names.image_reference import REPOSITORY_MAXIMUM, ImageReference, parse_image_reference
from registry_access.model.names.registry_host import (
    DOCKER_HUB,
    host_to_segment,
    normalize_registry_host,
    same_registry,
    segment_to_host,
)


class UnchangedReason(StrEnum):
    """Why an image was left as it is. Stable codes: metric labels, and what `akua image` prints."""

    ALREADY_PROXIED = "already-proxied"
    INVALID = "invalid"
    IPV6_LITERAL = "ipv6-literal"
    PORT_INVALID = "port-invalid"
    TOO_LONG = "too-long"


@dataclass(frozen=True, slots=True)
class Proxied:
    """The image's name at the proxy, such as ``oci.akua.dev/ghcr.io/acme/app:1``, and the upstream image it stands for."""

    reference: str
    upstream: ImageReference


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The image keeps its name. `detail` is a sentence for a person."""

    reason: UnchangedReason
    detail: str


def to_proxied(reference: ImageReference | str, host: str) -> Proxied | Unchanged:
    """`reference` behind the proxy at `host` (``host[:port]``). Applying it twice changes nothing."""
    if isinstance(reference, str):
        try:
            reference = parse_image_reference(reference)
        except InvalidImageReference as error:
            return Unchanged(UnchangedReason.INVALID, error.problem)
    if same_registry(reference.registry, host):
        return Unchanged(UnchangedReason.ALREADY_PROXIED, f"it is at {host} already")
    registry = normalize_registry_host(reference.registry)
    segment = host_to_segment(registry)
    if segment is None and registry.startswith("["):
        return Unchanged(UnchangedReason.IPV6_LITERAL, "a registry that is an IPv6 literal cannot be part of a repository name")
    if segment is None:
        return Unchanged(UnchangedReason.PORT_INVALID, "the registry's port is not a number from 1 to 65535")
    repository = reference.repository
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    # A repository name is bounded with its host by what clients accept (distribution-spec: "host and name at most 255").
    if len(f"{host}/{segment}/{repository}") > REPOSITORY_MAXIMUM:
        return Unchanged(UnchangedReason.TOO_LONG, f"its name at {host} would be longer than {REPOSITORY_MAXIMUM} characters")
    upstream = ImageReference(registry, repository, reference.tag, reference.digest)
    return Proxied(f"{host}/{segment}/{repository}{reference.suffix}", upstream)


def from_proxied(text: str, host: str) -> ImageReference | None:
    """The upstream image that `text` names at `host`; None when it is not such a name."""
    try:
        reference = parse_image_reference(text)
        if not same_registry(reference.registry, host):
            return None
        upstream = split_proxied_name(reference.repository)
    except (InvalidImageReference, InvalidRegistryHost):
        return None
    if upstream is None:
        return None
    return ImageReference(*upstream, reference.tag, reference.digest)


def as_kubelet_matches(text: str, host: str) -> str:
    """`text`, an image at `host` already, with the host as the pull Secret has it.

    The kubelet compares hosts as they are written: for ``OCI.akua.dev`` or ``oci.akua.dev:443`` it would not use the Secret.
    """
    written, slash, rest = text.partition("/")
    return f"{host}{slash}{rest}" if slash and same_registry(written, host) else text


def split_proxied_name(name: str) -> tuple[str, str] | None:
    """Registry host and repository that a repository `name` at the proxy stands for, or None when it names no repository.

    `name` must be a repository name by the grammar. ``docker.io/redis`` is ``docker.io`` and ``library/redis``.
    Raises InvalidRegistryHost when the first segment is no registry.
    """
    segment, _, repository = name.partition("/")
    registry = normalize_registry_host(segment_to_host(segment))
    if not repository:
        return None
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository

"""PullGrant: what an install looks like in a target namespace. The install sync writes it, not people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from sys import intern
from typing import ClassVar

from registry_access.model.label_selector import EVERYTHING, LabelSelector
from registry_access.model.names.registry_host import normalize_registry_host
from registry_access.model.names.repository_pattern import RepositoryPattern
from registry_access.model.resources.declaration import member, name, parsed, parsed_list, read_members, selector, write_members
from registry_access.model.resources.field_reader import Origin, Path
from registry_access.model.resources.metadata import Identified, Kind, Metadata, manifest_of, read_frame
from registry_access.model.resources.product import MAXIMUM_REPOSITORIES, shared_pattern

MAXIMUM_IMAGES = 2 * MAXIMUM_REPOSITORIES  # the product's and the install's own


def _host(text: str) -> str:
    return intern(normalize_registry_host(text))


@dataclass(frozen=True, slots=True)
class PullGrant(Identified):
    """Pods that `pod_selector` selects get `images` from `host`, with the pull Secret `pull_secret` of the namespace."""

    kind: ClassVar[Kind] = Kind.PULL_GRANT
    metadata: Metadata
    host: str = field(metadata=member("host", parsed(_host, maximum=260)))
    images: tuple[RepositoryPattern, ...] = field(
        metadata=member("images", parsed_list(shared_pattern, minimum=1, maximum=MAXIMUM_IMAGES))
    )
    pull_secret: str = field(metadata=member("pullSecret", name(required=True)))
    pod_selector: LabelSelector = field(default=EVERYTHING, metadata=member("podSelector", selector()))

    def covers(self, registry: str, repository: str) -> bool:
        """Whether images of this repository are to be rewritten."""
        return any(pattern.covers(registry, repository) for pattern in self.images)

    @classmethod
    def from_manifest(
        cls, manifest: object, *, source: str = "", lines: Callable[[Path], int] | None = None, strict: bool = True
    ) -> PullGrant:
        """Raises InvalidManifest."""
        reader, metadata = read_frame(manifest, Origin(source, lines, strict), cls.kind)
        reader.ignore("status")
        spec = reader.child("spec")
        grant = cls(metadata=metadata, **read_members(cls, spec))
        spec.refuse_unknown()
        reader.refuse_unknown()
        return grant

    def to_manifest(self) -> dict[str, object]:
        return manifest_of(self, spec=write_members(self))

"""PullGrant: what an install looks like in a target namespace. The install sync writes it, not people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from sys import intern
from typing import ClassVar

from registry_access.model.label_selector import EVERYTHING, LabelSelector
from registry_access.model.names.registry_host import normalize_registry_host
from registry_access.model.names.repository_pattern import RepositoryPattern
from registry_access.model.resources.field_reader import Origin, Path
from registry_access.model.resources.metadata import Identified, Kind, Metadata, manifest_of, read_frame
from registry_access.model.resources.product import MAXIMUM_REPOSITORIES, shared_pattern
from registry_access.model.resources.selector import read_selector

MAXIMUM_IMAGES = 2 * MAXIMUM_REPOSITORIES  # the product's and the install's own


@dataclass(frozen=True, slots=True)
class PullGrant(Identified):
    """Pods that `pod_selector` selects get `images` from `host`, with the pull Secret `pull_secret` of the namespace."""

    kind: ClassVar[Kind] = Kind.PULL_GRANT
    metadata: Metadata
    host: str
    images: tuple[RepositoryPattern, ...]
    pull_secret: str
    pod_selector: LabelSelector = EVERYTHING

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
        grant = cls(
            metadata=metadata,
            host=intern(spec.parsed("host", normalize_registry_host, maximum=260)),
            images=spec.parsed_list("images", shared_pattern, minimum_items=1, maximum_items=MAXIMUM_IMAGES),
            pull_secret=spec.name("pullSecret", default=None),
            pod_selector=read_selector(spec.child("podSelector")),
        )
        spec.refuse_unknown()
        reader.refuse_unknown()
        return grant

    def to_manifest(self) -> dict[str, object]:
        spec: dict[str, object] = {
            "host": self.host,
            "images": [str(pattern) for pattern in self.images],
            "pullSecret": self.pull_secret,
        }
        if not self.pod_selector.selects_everything:
            spec["podSelector"] = self.pod_selector.to_manifest()
        return manifest_of(self, spec=spec)

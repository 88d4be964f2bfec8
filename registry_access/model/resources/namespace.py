"""Namespace (v1): where everything else lives; one with the workspace label is a workspace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from registry_access.model.resources.field_reader import Origin, Path
from registry_access.model.resources.metadata import (
    RESERVED_NAMESPACES,
    WORKSPACE_LABEL,
    Identified,
    Kind,
    Metadata,
    manifest_of,
    read_frame,
)


@dataclass(frozen=True, slots=True)
class Namespace(Identified):
    kind: ClassVar[Kind] = Kind.NAMESPACE
    metadata: Metadata

    @property
    def is_workspace(self) -> bool:
        """Whether it owns what is in it: labelled as a workspace, and not reserved, whatever its labels."""
        return not self.is_reserved and self.metadata.labels.get(WORKSPACE_LABEL) == "true"

    @property
    def is_reserved(self) -> bool:
        return self.metadata.name in RESERVED_NAMESPACES

    @classmethod
    def from_manifest(
        cls, manifest: object, *, source: str = "", lines: Callable[[Path], int] | None = None, strict: bool = True
    ) -> Namespace:
        """Raises InvalidManifest."""
        reader, metadata = read_frame(manifest, Origin(source, lines, strict), cls.kind)
        reader.ignore("spec", "status")
        reader.refuse_unknown()
        return cls(metadata)

    def to_manifest(self) -> dict[str, object]:
        return manifest_of(self)

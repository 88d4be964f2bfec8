"""Product: a named set of repositories that a customer can buy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

from registry_access.model.names.repository_pattern import RepositoryPattern, parse_repository_pattern
from registry_access.model.resources.declaration import member, parsed_list, read_members, write_members
from registry_access.model.resources.field_reader import Origin, Path
from registry_access.model.resources.metadata import Kind, Metadata, WorkspaceOwned, manifest_of, read_frame

MAXIMUM_REPOSITORIES = 256


@lru_cache(maxsize=16384)
def shared_pattern(text: str) -> RepositoryPattern:
    """`parse_repository_pattern`, one object per text: thousands of grants name the same repositories."""
    return parse_repository_pattern(text)


@dataclass(frozen=True, slots=True)
class Product(WorkspaceOwned):
    kind: ClassVar[Kind] = Kind.PRODUCT
    metadata: Metadata
    repositories: tuple[RepositoryPattern, ...] = field(
        metadata=member("repositories", parsed_list(shared_pattern, minimum=1, maximum=MAXIMUM_REPOSITORIES))
    )

    @classmethod
    def from_manifest(
        cls, manifest: object, *, source: str = "", lines: Callable[[Path], int] | None = None, strict: bool = True
    ) -> Product:
        """Raises InvalidManifest."""
        reader, metadata = read_frame(manifest, Origin(source, lines, strict), cls.kind)
        reader.ignore("status")
        spec = reader.child("spec")
        product = cls(metadata, **read_members(cls, spec))
        spec.refuse_unknown()
        reader.refuse_unknown()
        return product

    def to_manifest(self) -> dict[str, object]:
        return manifest_of(self, spec=write_members(self))

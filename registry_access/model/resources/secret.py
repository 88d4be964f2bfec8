"""Secret (v1): bytes by name. Its values never show in a repr or an error."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import ClassVar

from registry_access.model.resources.field_reader import FieldReader, Origin, Path
from registry_access.model.resources.metadata import Identified, Kind, Metadata, manifest_of, read_frame
from registry_access.model.shared_map import EMPTY, shared_map


@dataclass(frozen=True, slots=True)
class Secret(Identified):
    """`type` as Kubernetes has it ("Opaque" by default); `data` holds raw bytes."""

    kind: ClassVar[Kind] = Kind.SECRET
    metadata: Metadata
    type: str = "Opaque"
    data: Mapping[str, bytes] = field(default=EMPTY, repr=False)
    immutable: bool = False

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name}, type={self.type}, names={sorted(self.data)})"

    @classmethod
    def from_manifest(
        cls, manifest: object, *, source: str = "", lines: Callable[[Path], int] | None = None, strict: bool = True
    ) -> Secret:
        """`stringData` is merged over `data`, as an API server does it. Raises InvalidManifest."""
        reader, metadata = read_frame(manifest, Origin(source, lines, strict), cls.kind)
        data = {name: _decoded(reader, name, text) for name, text in reader.text_map("data").items()}
        data.update((name, text.encode(errors="replace")) for name, text in reader.text_map("stringData").items())
        secret = cls(
            metadata=metadata,
            type=intern(reader.text("type", default="Opaque", maximum=253)),
            data=shared_map(data),
            immutable=reader.flag("immutable"),
        )
        reader.refuse_unknown()
        return secret

    def to_manifest(self) -> dict[str, object]:
        """With the values, in base64."""
        manifest = manifest_of(self, data={name: base64.b64encode(value).decode() for name, value in self.data.items()})
        manifest["type"] = self.type
        if self.immutable:
            manifest["immutable"] = True
        return manifest


def _decoded(reader: FieldReader, name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise reader.child("data").invalid(name, "is not base64", "encode it, or move it to stringData") from None

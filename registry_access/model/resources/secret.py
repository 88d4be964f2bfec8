"""Secret (v1): bytes by name. Its values never show in a repr or an error."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from sys import intern
from types import MappingProxyType
from typing import ClassVar
from weakref import WeakValueDictionary

from registry_access.model.resources.field_reader import FieldReader, Origin, Path
from registry_access.model.resources.metadata import Identified, Kind, Metadata, manifest_of, read_frame


@dataclass(frozen=True, slots=True)
class Secret(Identified):
    """`type` as Kubernetes has it ("Opaque" by default); `data` holds raw bytes."""

    kind: ClassVar[Kind] = Kind.SECRET
    metadata: Metadata
    type: str = "Opaque"
    data: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}), repr=False)
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
            data=_shared(data),
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


class _Values(dict[str, bytes]):
    """A dictionary that can be referred to weakly."""

    __slots__ = ("__weakref__",)


# The pull Secrets of an install hold the same token in every target namespace. Values go with the last Secret that holds them.
_values: WeakValueDictionary[tuple[tuple[str, bytes], ...], _Values] = WeakValueDictionary()


def _shared(data: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """`data` read-only; equal values that are held already share one object."""
    items = tuple(sorted(data.items()))
    values = _values.get(items)
    if values is None:
        values = _values[items] = _Values((intern(name), value) for name, value in items)
    return MappingProxyType(values)


def _decoded(reader: FieldReader, name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise reader.child("data").invalid(name, "is not base64", "encode it, or move it to stringData") from None

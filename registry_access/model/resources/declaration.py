"""Fields of specs and statuses, declared once: how each is read, written, and described by its CRD's schema.

A class declares a field as ``registry: str = field(metadata=member("registry", host(maximum=260)))``. `read_members` reads all of
them from a manifest, `write_members` writes them back, and tests/unit/registry_access/model/test_crds.py holds the CRDs to
`schemas_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from functools import lru_cache, partial
from sys import intern
from typing import Any, Protocol

from registry_access.model.label_selector import LabelSelector
from registry_access.model.resources.field_reader import FieldReader
from registry_access.model.resources.selector import read_selector
from registry_access.model.timestamp import rfc3339

_MEMBER = "member"


class Readable(Protocol):
    """A mapping below a list: it reads and writes itself."""

    @classmethod
    def read(cls, reader: FieldReader) -> Any: ...

    def to_manifest(self) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class Codec:
    """`read` takes a reader and the field's name and raises InvalidManifest. `write` gives a JSON value; empty ones are left out.

    `schema` is what the CRD must say of the field, in OpenAPI's words; "below" leads to the schemas of fields below it.
    """

    read: Callable[[FieldReader, str], Any]
    schema: Mapping[str, object]
    write: Callable[[Any], object] = lambda value: value


def member(name: str, codec: Codec) -> Mapping[str, object]:
    """The metadata of a dataclass field that is the manifest's field `name`."""
    return {_MEMBER: (name, codec)}


@lru_cache(maxsize=64)
def _members(cls: Any) -> tuple[tuple[str, str, Codec], ...]:
    return tuple((each.name, *each.metadata[_MEMBER]) for each in fields(cls) if _MEMBER in each.metadata)


def read_members(cls: Any, reader: FieldReader) -> dict[str, Any]:
    """The values of the fields that `cls` declares, by attribute. Raises InvalidManifest."""
    return {attribute: codec.read(reader, name) for attribute, name, codec in _members(cls)}


def write_members(value: Any) -> dict[str, object]:
    """The declared fields of `value` as a manifest has them, without those that are empty."""
    written = ((name, codec.write(getattr(value, attribute))) for attribute, name, codec in _members(value.__class__))
    return {name: item for name, item in written if item}


def schemas_of(cls: Any) -> Iterator[tuple[str, Mapping[str, object]]]:
    """What a CRD must say of each declared field, by the manifest's name."""
    return ((name, codec.schema) for _, name, codec in _members(cls))


def text(*, maximum: int = 4096, interned: bool = False) -> Codec:
    """Text; "" when absent."""

    def read(reader: FieldReader, name: str) -> str:
        found = reader.text(name, default="", maximum=maximum)
        return intern(found) if interned else found

    return Codec(read, schema={"type": "string"} if maximum == 4096 else {"type": "string", "maxLength": maximum})


def name(*, required: bool = False, maximum: int = 253) -> Codec:
    """A Kubernetes object's name; None when absent."""

    def read(reader: FieldReader, field: str) -> str | None:
        return reader.name(field, default=None if required else "", maximum=maximum) or None

    return Codec(read, schema={"type": "string", "maxLength": maximum})


def parsed(parse: Callable[[str], Any], *, maximum: int = 512, optional: bool = False) -> Codec:
    """Text through `parse`, which raises InvalidInput; None when `optional` and absent."""

    def read(reader: FieldReader, field: str) -> Any:
        return None if optional and not reader.has(field) else reader.parsed(field, parse, maximum=maximum)

    return Codec(read, {"type": "string", "maxLength": maximum}, lambda value: None if value is None else str(value))


def parsed_list(parse: Callable[[str], Any], *, maximum: int, minimum: int = 0) -> Codec:
    """Different texts, each through `parse`."""

    def read(reader: FieldReader, field: str) -> tuple[Any, ...]:
        return reader.parsed_list(field, parse, minimum_items=minimum, maximum_items=maximum)

    least = {"minItems": minimum} if minimum else {}
    return Codec(read, {"type": "array", "maxItems": maximum, **least}, lambda values: [str(value) for value in values])


def texts(*, maximum: int) -> Codec:
    return Codec(
        lambda reader, field: tuple(reader.texts(field, maximum_items=maximum)), {"type": "array", "maxItems": maximum}, list
    )


def choice(choices: type[StrEnum]) -> Codec:
    """One word of an enumeration; required."""
    words = [str(item) for item in choices]
    return Codec(lambda reader, field: choices(reader.choice(field, words, default=None)), {"type": "string", "enum": words}, str)


def flag() -> Codec:
    return Codec(lambda reader, field: reader.flag(field), schema={"type": "boolean"})


def number(*, default: int = 0, minimum: int = 0, maximum: int = 2**53) -> Codec:
    most = {"maximum": maximum} if maximum != 2**53 else {}
    return Codec(
        lambda reader, field: reader.number(field, default=default, minimum=minimum, maximum=maximum),
        schema={"type": "integer", "minimum": minimum, **most},
    )


def moment() -> Codec:
    """An RFC 3339 time; None when absent."""

    def write(value: datetime | None) -> str:
        return rfc3339(value)

    return Codec(lambda reader, field: reader.time(field), {"type": "string", "format": "date-time"}, write)


def selector() -> Codec:
    """A label selector; absent, it selects everything."""

    def write(value: LabelSelector) -> object:
        return None if value.selects_everything else value.to_manifest()

    return Codec(lambda reader, field: read_selector(reader.child(field)), {"type": "object"}, write)


def several(cls: type[Readable], *, maximum: int) -> Codec:
    """A list of mappings that read and write themselves."""

    def read(reader: FieldReader, field: str) -> tuple[Any, ...]:
        return tuple(cls.read(item) for item in reader.children(field, maximum_items=maximum))

    def write(values: Sequence[Readable]) -> object:
        return [value.to_manifest() for value in values]

    return Codec(read, {"type": "array", "maxItems": maximum}, write)


def below(field: str, codec: Codec) -> Codec:
    """The one field `field` of a mapping."""

    def read(reader: FieldReader, outer: str) -> Any:
        child = reader.child(outer)
        found = codec.read(child, field)
        child.refuse_unknown()
        return found

    def write(write_value: Callable[[Any], object], value: Any) -> object:
        written = write_value(value)
        return {field: written} if written else None

    return Codec(read, {"type": "object", "below": {field: codec.schema}}, partial(write, codec.write))

"""Reads a manifest field by field, so that every complaint names source, line, field and way out.

`null` means absent, as it does to a Kubernetes API server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from sys import intern
from typing import TypeVar

from registry_access.model.errors import InvalidInput, InvalidManifest
from registry_access.model.timestamp import parse_rfc3339

Path = tuple[str | int, ...]
T = TypeVar("T")
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a manifest came from. `line_of` gives the 1-based line of a path (0: unknown).

    `strict` refuses unknown fields. It is off for objects from an API server, which has pruned what its schema does not
    know and may already know fields of a later release.
    """

    source: str = ""
    line_of: Callable[[Path], int] | None = None
    strict: bool = True

    def invalid(self, path: Path, problem: str, remedy: str) -> InvalidManifest:
        line = self.line_of(path) if self.line_of else 0
        return InvalidManifest(problem, field=path_text(path), remedy=remedy, source=self.source, line=line)


class FieldReader:
    """One mapping of a manifest. Each accessor asks for one field; `refuse_unknown` complains about those never asked for."""

    __slots__ = ("_asked", "_origin", "_path", "_values")

    def __init__(self, values: object, origin: Origin, path: Path = ()) -> None:
        if not isinstance(values, Mapping):
            raise origin.invalid(path, f"is {_type_name(values)}, not a mapping", "write fields below it, as `name: value`")
        self._values: Mapping[object, object] = values
        self._origin = origin
        self._path = path
        self._asked: set[str] = set()

    def invalid(self, name: str, problem: str, remedy: str) -> InvalidManifest:
        """The error to raise about the field `name` ("" for this mapping itself)."""
        path = (*self._path, name) if name else self._path
        return self._origin.invalid(path, problem, remedy)

    def has(self, name: str) -> bool:
        return self._take(name) is not None

    def ignore(self, *names: str) -> None:
        self._asked.update(names)

    def refuse_unknown(self) -> None:
        """Raises InvalidManifest for the first field that nothing asked for, naming the nearest that is known."""
        if not self._origin.strict:
            return
        for name in self._values:
            if name not in self._asked:
                near = get_close_matches(str(name), self._asked, n=1, cutoff=0.5)
                known = ", ".join(sorted(self._asked))
                remedy = f"did you mean {near[0]}?" if near else f"known here: {known}"
                raise self.invalid(str(name), "unknown field", remedy)

    def text(self, name: str, *, default: str | None, maximum: int = 4096) -> str:
        """A string; required when `default` is None."""
        value = self._take(name)
        if value is None:
            return self._default(name, default)
        if not isinstance(value, str):
            raise self.invalid(name, f"is {_type_name(value)}, not text", "put it in quotes")
        if len(value) > maximum:
            raise self.invalid(name, f"is longer than {maximum} characters", "shorten it")
        if not value and default is None:
            raise self.invalid(name, "is empty", "write a value")
        return value

    def name(self, name: str, *, default: str | None, maximum: int = 253) -> str:
        """A DNS-1123 subdomain, as Kubernetes names objects; required when `default` is None."""
        value = self.text(name, default=default, maximum=maximum)
        if value and not _DNS_NAME.fullmatch(value):
            raise self.invalid(name, f"{value!r} is not a name", "use lower-case letters, digits, '-' and '.'")
        return intern(value)

    def parsed(self, name: str, parse: Callable[[str], T], *, maximum: int = 512) -> T:
        """A required string through `parse`, whose InvalidInput becomes a complaint about this field."""
        return self._parse(name, (*self._path, name), self.text(name, default=None, maximum=maximum), parse)

    def parsed_list(
        self, name: str, parse: Callable[[str], T], *, minimum_items: int = 0, maximum_items: int = 256
    ) -> tuple[T, ...]:
        """A list of strings, each through `parse`; repeats are refused."""
        texts = self.texts(name, minimum_items=minimum_items, maximum_items=maximum_items)
        values = tuple(self._parse(name, (*self._path, name, index), text, parse) for index, text in enumerate(texts))
        seen: set[T] = set()
        for index, value in enumerate(values):
            if value in seen:
                raise self._origin.invalid((*self._path, name, index), f"{texts[index]!r} is listed twice", "remove one")
            seen.add(value)
        return values

    def choice(self, name: str, choices: Sequence[str], *, default: str | None) -> str:
        value = self.text(name, default=default)
        if value and value not in choices:
            near = get_close_matches(value.lower(), [choice.lower() for choice in choices], n=1, cutoff=0.5)
            meant = next((choice for choice in choices if near and choice.lower() == near[0]), None)
            remedy = f"did you mean {meant}?" if meant else f"write one of {', '.join(choices)}"
            raise self.invalid(name, f"{value!r} is not one of {', '.join(choices)}", remedy)
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.invalid(name, f"is {_type_name(value)}, not true or false", "write true or false, without quotes")
        return value

    def number(self, name: str, *, default: int, minimum: int, maximum: int = 2**53) -> int:
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.invalid(name, f"is {_type_name(value)}, not a whole number", "write digits, without quotes")
        if not minimum <= value <= maximum:
            raise self.invalid(name, f"{value} is out of range", f"write a number from {minimum} to {maximum}")
        return value

    def time(self, name: str) -> datetime | None:
        """An RFC 3339 time with its offset, in UTC; None when absent."""
        text = self.text(name, default="", maximum=64)
        if not text:
            return None
        value = parse_rfc3339(text)
        if value is None:
            raise self.invalid(name, f"{text!r} is not a time with an offset", "write it as 2030-01-31T12:00:00Z")
        return value

    def texts(self, name: str, *, minimum_items: int = 0, maximum_items: int = 256) -> tuple[str, ...]:
        items = self._list(name, minimum_items, maximum_items)
        for index, item in enumerate(items):
            if not isinstance(item, str) or not item:
                problem = "is empty" if item in ("", None) else f"is {_type_name(item)}, not text"
                raise self._origin.invalid((*self._path, name, index), problem, "put it in quotes, or remove it")
        return tuple(str(item) for item in items)

    def text_map(self, name: str, *, maximum_items: int = 1024) -> dict[str, str]:
        """A mapping of strings to strings, as labels are; empty when absent."""
        value = self._take(name)
        if value is None:
            return {}
        reader = FieldReader(value, self._origin, (*self._path, name))
        if len(reader._values) > maximum_items:
            raise self.invalid(name, f"has more than {maximum_items} entries", "remove some")
        for key in reader._values:
            if not isinstance(key, str):
                raise reader.invalid(str(key), f"its name is {_type_name(key)}, not text", "put the name in quotes")
        return {str(key): reader.text(str(key), default="", maximum=1 << 21) for key in reader._values}

    def child(self, name: str) -> FieldReader:
        """The mapping below `name`; an empty one when absent."""
        value = self._take(name)
        return FieldReader({} if value is None else value, self._origin, (*self._path, name))

    def children(self, name: str, *, maximum_items: int = 64) -> tuple[FieldReader, ...]:
        """The list of mappings below `name`."""
        items = self._list(name, 0, maximum_items)
        return tuple(FieldReader(item, self._origin, (*self._path, name, index)) for index, item in enumerate(items))

    def _take(self, name: str) -> object:
        self._asked.add(name)
        return self._values.get(name)

    def _default(self, name: str, default: str | None) -> str:
        if default is None:
            raise self.invalid(name, "is missing", f"write {path_text((*self._path, name))}")
        return default

    def _list(self, name: str, minimum: int, maximum: int) -> Sequence[object]:
        value = self._take(name)
        items: object = () if value is None else value
        if not isinstance(items, Sequence) or isinstance(items, str | bytes):
            raise self.invalid(name, f"is {_type_name(items)}, not a list", "write its items below it, each behind a dash")
        if len(items) < minimum:
            raise self.invalid(name, f"needs at least {minimum}", "write them below it, each behind a dash")
        if len(items) > maximum:
            raise self.invalid(name, f"has {len(items)} items, more than {maximum}", "remove some, or split the object")
        return items

    def _parse(self, name: str, path: Path, text: str, parse: Callable[[str], T]) -> T:
        try:
            return parse(text)
        except InvalidInput as error:
            raise self._origin.invalid(path, error.problem, error.remedy) from error


def path_text(path: Path) -> str:
    """``("spec", "targets", 0, "namespace")`` as ``spec.targets[0].namespace``; a name with dots or slashes in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif "." in part or "/" in part:
            text += f"[{part!r}]"
        else:
            text += f".{part}" if text else part
    return text


def _type_name(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    names: tuple[tuple[type | tuple[type, ...], str], ...] = ((str, "text"), ((int, float), "a number"), (Mapping, "a mapping"))
    return next((name for kind, name in names if isinstance(value, kind)), "a list")

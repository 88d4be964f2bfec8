"""YAML as kubectl reads it, with the position of every value in the text, so that single values can be replaced.

kubectl reads YAML by sigs.k8s.io/yaml (goyaml.v2): YAML 1.1 with ``yes`` and ``on`` as booleans and ``0400`` as octal, but
without dates, sexagesimal numbers and binary. Scalars are resolved here as its ``resolve.go`` does.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from registry_access.model.errors import InvalidInput

_DEPTH_MAXIMUM = 100
_VALUES_MAXIMUM = 1_000_000  # with every alias written out
_BOOLEANS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0b(?P<two>[01]+)|0o?(?P<eight>[0-7]+)|0x(?P<sixteen>[0-9a-fA-F]+)|(?P<ten>0|[1-9][0-9]*))"
)
_BASES = {"two": 2, "eight": 8, "sixteen": 16, "ten": 10}
_DIGITS_MAXIMUM = 400
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Field:
    """A value of a document, and the mapping or sequence that contains it; with an alias, that is not where it is used."""

    holder: yaml.Node
    node: yaml.Node


class Change(NamedTuple):
    """New text for the characters from `start` up to, but not including, `end`."""

    start: int
    end: int
    words: str


class YamlText:
    """The documents of `text`. Raises InvalidInput if it is not YAML."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.documents = [node for node in yaml.compose_all(_without_tabs(text), Loader=yaml.SafeLoader) if node is not None]
            weights: dict[int, int] = {}
            for document in self.documents:
                _weigh(document, weights, 0)
        except RecursionError:
            raise InvalidInput("is nested too deeply") from None
        except yaml.YAMLError as error:
            raise InvalidInput(f"is not YAML{_line(error, text)}") from None

    def value(self, node: yaml.Node) -> Any:
        """As kubectl has it in JSON."""
        return self._value(node, {})

    def fields(self, node: yaml.Node) -> Mapping[str, Field]:
        """The members of a mapping, including those of its merge keys (``<<``); empty for anything else."""
        return dict(self._fields(node))

    def change(self, node: yaml.Node, value: str, new: str) -> Change | None:
        """The edit that turns `value` of `node` into `new`, keeping its quotes. None if it cannot be written simply."""
        start, end = node.start_mark.index, node.end_mark.index
        found = self.text.rfind(value, start, end)
        if found >= 0:
            return Change(found, found + len(value), new)
        return Change(start, end, json.dumps(new)) if self.text[start] == '"' else None

    def uses(self) -> Counter[int]:
        """How many mappings and sequences contain each value, by node identity. Aliases make it more than one."""
        counted: Counter[int] = Counter()
        waiting, seen = list(self.documents), set[int]()
        while waiting:
            node = waiting.pop()
            if id(node) not in seen and not isinstance(node, yaml.ScalarNode):
                seen.add(id(node))
                members = node.value if isinstance(node, yaml.SequenceNode) else [value for _, value in node.value]
                counted.update(id(member) for member in members)
                waiting += members
        return counted

    def changed(self, changes: Iterable[Change]) -> str:
        """The text with these changes, which must not overlap."""
        pieces: list[str] = []
        done = 0
        for change in sorted(changes):
            pieces += (self.text[done : change.start], change.words)
            done = change.end
        return "".join((*pieces, self.text[done:]))

    def _value(self, node: yaml.Node, known: dict[int, Any]) -> Any:
        if id(node) in known:
            return known[id(node)]
        if isinstance(node, yaml.ScalarNode):
            value = self._scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            value = [self._value(item, known) for item in node.value]
        else:
            value = {name: self._value(field.node, known) for name, field in self._fields(node)}
        known[id(node)] = value
        return value

    def _fields(self, node: yaml.Node) -> Iterator[tuple[str, Field]]:
        if not isinstance(node, yaml.MappingNode):
            return
        own = []
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                # The mapping's own members come later and win; among several merged mappings the first wins.
                for merged in reversed(value.value if isinstance(value, yaml.SequenceNode) else [value]):
                    yield from self._fields(merged)
            elif isinstance(key, yaml.ScalarNode):
                own.append((_key(self._scalar(key)), Field(node, value)))
        yield from own

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        plain = node.style in (None, "") and not self._tagged(node)
        return _resolved(str(node.value)) if plain else str(node.value)

    def _tagged(self, node: yaml.ScalarNode) -> bool:
        properties = self.text[node.start_mark.index : node.end_mark.index].split(None, 2)[:2]
        return any(word.startswith("!") for word in properties if word[0] in "!&") and properties[0][0] in "!&"


def _weigh(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """How many values `node` expands to. A few lines of aliases can expand to billions, or to themselves."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if depth > _DEPTH_MAXIMUM:
        raise InvalidInput("is nested too deeply, or contains itself by an alias")
    if id(node) not in known:
        members = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_weigh(member, known, depth + 1) for member in members)
        if known[id(node)] > _VALUES_MAXIMUM:
            raise InvalidInput(f"expands to more than {_VALUES_MAXIMUM} values; use fewer aliases")
    return known[id(node)]


def _resolved(text: str) -> Any:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    digits = text.replace("_", "")
    if len(digits) <= _DIGITS_MAXIMUM and (match := _INTEGER.fullmatch(digits)):
        base = next(name for name in _BASES if match[name])
        return int(match["sign"] + match[base], _BASES[base])
    if len(digits) <= _DIGITS_MAXIMUM and _FLOAT.fullmatch(digits):
        number = float(digits)
        if abs(number) == float("inf"):
            return text
        return int(number) if number.is_integer() else number
    return text


def _key(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _without_tabs(text: str) -> str:
    """JSON may be indented with tabs, YAML may not. JSON strings contain no raw tabs, so positions stay the same."""
    if "\t" in text and text.lstrip().startswith("{"):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return text
        return text.replace("\t", " ")
    return text


def _line(error: yaml.YAMLError, text: str) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f" (line {error.problem_mark.line + 1}: {error.problem})"
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f" (line {line}: a character that YAML does not allow)"
    return ""

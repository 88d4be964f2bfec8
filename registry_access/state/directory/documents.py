"""Manifest files: several YAML documents (or one of JSON), read with line numbers, edited with comments kept, written atomically.

Values are what kubectl would send: YAML 1.1 scalars, times as text, names of fields always text, no tags, no merge keys.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from registry_access.model.errors import InvalidManifest
from registry_access.model.resources.field_reader import Path as FieldPath
from registry_access.runtime.atomic_write import write_atomically
from registry_access.state.manifest import plain

FILE_MAXIMUM = 16 * 1024 * 1024  # bytes
_NODE_MAXIMUM = 500_000  # aliases can make a small file huge
_TAG = "tag:yaml.org,2002:"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTRUCTOR = SafeConstructor()
_RESOLVER = Resolver()
Edit = Callable[[MutableMapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file a manifest stands: the document, counted from 0, and within a `kind: List` the item."""

    document: int
    item: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One manifest of a file. `lines` maps field paths to 1-based lines."""

    place: Place
    manifest: dict[str, Any]
    lines: Mapping[FieldPath, int] = field(repr=False)

    def line_of(self, path: FieldPath) -> int:
        """The line of a field; of its nearest parent when it is missing."""
        return next((self.lines[path[:length]] for length in range(len(path), -1, -1) if path[:length] in self.lines), 0)


def read_documents(path: Path) -> list[Document]:
    """The manifests of a file. Raises OSError, and InvalidManifest with file and line."""
    return parse_documents(_text(path), str(path))


def parse_documents(text: str, source: str = "") -> list[Document]:
    """As `read_documents`. No message quotes the text, which may hold secrets."""
    documents: list[Document] = []
    try:
        for position, node in enumerate(yaml.compose_all(text, Loader=_LOADER)):
            documents += _documents(node, position, source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # A composer's complaint names the alias, which in a mistyped file may be a password that begins with a star.
        said = "an alias that is defined nowhere" if isinstance(error, yaml.composer.ComposerError) else error.problem
        line = mark.line + 1 if mark else 0
        raise _not_yaml(said or "cannot be parsed", source, line) from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise _not_yaml("cannot be parsed", source) from None
    return documents


def edit_file(path: Path, place: Place, edit: Edit) -> str:
    """The text of `path` after `edit` of one manifest: comments and the other manifests stay. Raises as `read_documents`."""
    text = _text(path)
    wanted = {document.place: document.manifest for document in parse_documents(text, str(path))}
    edit(wanted[place])

    def edited(loaded: list[Any]) -> None:
        edit(loaded[place.document] if place.item is None else loaded[place.document]["items"][place.item])

    return _round_trip(path, text, edited, list(wanted.values()))


def remove_from_file(path: Path, place: Place) -> str:
    """The text of `path` without one manifest; "" when it was the last. Raises as `read_documents`."""
    text = _text(path)
    wanted = [document.manifest for document in parse_documents(text, str(path)) if document.place != place]

    def removed(loaded: list[Any]) -> None:
        if place.item is None:
            del loaded[place.document]
        else:
            del loaded[place.document]["items"][place.item]

    return _round_trip(path, text, removed, wanted) if wanted else ""


def new_text(manifest: Mapping[str, Any]) -> str:
    """A file's text for one new manifest."""
    dumped: str = yaml.safe_dump(plain(manifest), sort_keys=False, allow_unicode=True, width=120)
    return dumped


def write_state_file(path: Path, content: bytes, *, private: bool) -> None:
    """Replaces a file of the state folder, making its folder. `private`: mode 0600; else a file's mode stays. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    public = path.stat().st_mode & 0o777 if path.exists() else 0o644
    write_atomically(path, content, mode=0o600 if private else public)


def quoted(value: Any) -> Any:
    """A copy in which text that YAML 1.1 would read as something else ("yes", "1.0") is marked to be written in quotes."""
    if isinstance(value, Mapping):
        return {name: quoted(member) for name, member in value.items()}
    if isinstance(value, str):
        tag = _RESOLVER.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
        return value if tag == _TAG + "str" else DoubleQuotedScalarString(value)
    return [quoted(member) for member in value] if isinstance(value, Sequence) else value


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(FILE_MAXIMUM + 1)
    if len(content) > FILE_MAXIMUM:
        raise InvalidManifest("the file is larger than 16 MiB", source=str(path), remedy="split it")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _not_yaml("not UTF-8", str(path)) from None


def _not_yaml(problem: str, source: str, line: int = 0) -> InvalidManifest:
    return InvalidManifest(
        f"not YAML: {problem}", source=source, line=line, remedy="fix the file; its last good version still applies"
    )


def _documents(node: Any, position: int, source: str) -> Iterator[Document]:
    lines: dict[FieldPath, int] = {}
    manifest = _Builder(source, lines).value(node, ())
    if manifest is None:
        return
    if not isinstance(manifest, dict):
        line = node.start_mark.line + 1
        raise InvalidManifest("not a manifest", source=source, line=line, remedy="write apiVersion, kind, metadata and spec")
    items = manifest.get("items")
    if manifest.get("kind") != "List" or not isinstance(items, list):
        yield Document(Place(position), manifest, lines)
        return
    for index, item in enumerate(items):
        below = {path[2:]: line for path, line in lines.items() if path[:2] == ("items", index)}
        yield Document(Place(position, index), item if isinstance(item, dict) else {}, below)


class _Builder:
    """Values from composed nodes. PyYAML's own constructor would make dates, take the last of two equal names and lose lines."""

    def __init__(self, source: str, lines: dict[FieldPath, int]) -> None:
        self._source = source
        self._lines = lines
        self._nodes = 0

    def value(self, node: Any, path: FieldPath) -> Any:
        self._nodes += 1
        if self._nodes > _NODE_MAXIMUM:
            raise self._problem(node, "more values than a manifest file may have")
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: Any, path: FieldPath) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for name_node, value_node in node.value:
            if not isinstance(name_node, yaml.ScalarNode) or name_node.tag == _TAG + "merge":
                raise self._problem(name_node, "a field's name is a merge key or not text")
            name = name_node.value
            if name in built:
                raise self._problem(name_node, f"the field {name} appears twice")
            self._lines[(*path, name)] = name_node.start_mark.line + 1
            built[name] = self.value(value_node, (*path, name))
        return built

    def _scalar(self, node: Any) -> Any:
        match node.tag.removeprefix(_TAG):
            case "str" | "timestamp" | "value":
                return node.value
            case "null":
                return None
            case "bool":
                return _CONSTRUCTOR.construct_yaml_bool(node)
            case "int":
                return _CONSTRUCTOR.construct_yaml_int(node)
            case "float":
                return _CONSTRUCTOR.construct_yaml_float(node)
        raise self._problem(node, "a tag that a manifest cannot have")

    def _problem(self, node: Any, problem: str) -> InvalidManifest:
        return _not_yaml(problem, self._source, node.start_mark.line + 1)


def _round_trip(path: Path, text: str, edit: Callable[[list[Any]], None], wanted: list[dict[str, Any]]) -> str:
    """`text` after `edit`, checked to hold `wanted`; should the comment-keeping writer get it wrong, the plain values win."""
    if path.suffix == ".json":
        loaded = [json.loads(text)]
        edit(loaded)
        return json.dumps(loaded[0], indent=2, ensure_ascii=False) + "\n"
    keeping = YAML(typ="rt")
    keeping.preserve_quotes = True
    keeping.width = 4096
    if "\n- " not in text:  # keep the file's own way of indenting lists
        keeping.indent(mapping=2, sequence=4, offset=2)
    try:
        documents = list(keeping.load_all(text))
        edit(documents)
        buffer = io.StringIO()
        keeping.dump_all(documents, buffer)
        if [document.manifest for document in parse_documents(buffer.getvalue())] == wanted:
            return buffer.getvalue()
    except Exception:  # noqa: S110 - any failure of the comment-keeping writer has the same answer
        pass
    return "---\n".join(new_text(manifest) for manifest in wanted)

"""The custom resources as docs/api.md lists them, from the CRDs; tests/unit/test_docs.py fails when the two differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).resolve().parent.parent / "manifests/base/crds"
_LIMITS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "minProperties": "at least {} entries",
    "maxProperties": "at most {} entries",
    "minimum": "at least {}",
    "maximum": "at most {}",
}
_FRAME = ("apiVersion", "kind", "metadata")


def api_reference() -> str:
    """Every kind, as Markdown."""
    documents = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(CRDS.glob("*.yaml"))]
    crds = [document for document in documents if document["kind"] == "CustomResourceDefinition"]
    return "\n\n".join(_kind(crd) for crd in sorted(crds, key=lambda crd: str(crd["spec"]["names"]["kind"])))


def _kind(crd: Mapping[str, Any]) -> str:
    names, (version,) = crd["spec"]["names"], crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    short = " ".join(f"`{name}`" for name in names.get("shortNames", ()))
    blocks = [
        f"## {names['kind']}\n{_sentence(schema)}\n\n`kubectl get {names['plural']}`{f', short {short}' if short else ''}.",
        _table(("column", "shows"), [(column["name"], f"`{column['jsonPath']}`") for column in _columns(version)]),
        _table(("field", "type", "limits", "meaning"), list(_fields(schema))),
    ]
    rules = list(_rules(schema))
    if rules:
        blocks.append("The API server refuses an object unless:\n\n" + "\n".join(f"- {rule}" for rule in rules))
    return "\n\n".join(blocks)


def _columns(version: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for column in version.get("additionalPrinterColumns", ()):
        if not column.get("priority"):
            yield column


def _fields(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, ...]]:
    required = node.get("required", ())
    for name, child in node.get("properties", {}).items():
        if not path and name in _FRAME:
            continue
        where = f"{path}.{name}" if path else name
        inner, below = child, where
        while inner.get("type") == "array":
            inner, below = inner["items"], below + "[]"
        limits = [*(["required"] if name in required else []), *_limits(child)]
        limits += [f"each {limit}" for limit in _limits(inner) if inner is not child]
        yield f"`{where}`", _type(child), "; ".join(limits), _sentence(child)
        yield from _fields(inner, below)


def _type(node: Mapping[str, Any]) -> str:
    if node.get("type") == "array":
        return f"list of {_type(node['items'])}"
    values = node.get("additionalProperties")
    if isinstance(values, Mapping):
        return f"map of {_type(values)}"
    if node.get("x-kubernetes-int-or-string"):
        return "integer or string"
    return str(node.get("format") or node.get("type", "any"))


def _limits(node: Mapping[str, Any]) -> list[str]:
    found = [
        "not empty" if name.startswith("min") and name != "minimum" and node[name] == 1 else text.format(node[name])
        for name, text in _LIMITS.items()
        if name in node
    ]
    if "enum" in node:
        found.insert(0, "one of " + ", ".join(f"`{value}`" for value in node["enum"]))
    if "default" in node:
        found.append(f"default `{json.dumps(node['default'])}`")
    return found


def _rules(node: Mapping[str, Any]) -> Iterator[str]:
    for rule in node.get("x-kubernetes-validations", ()):
        yield _line(rule.get("message") or f"`{rule['rule']}`")
    for child in [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]:
        yield from _rules(child)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _sentence(node: Mapping[str, Any]) -> str:
    return _line(node.get("description", ""))


def _line(text: str) -> str:
    return " ".join(text.split())

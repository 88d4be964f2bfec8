"""How writes change a manifest: JSON merge patches, and server-side apply as far as labels, annotations and fields go.

All change their target in place, so that a commented YAML mapping keeps its comments.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

Shape = dict[str, Any]


def merge_into(target: MutableMapping[str, Any], patch: Mapping[str, Any]) -> None:
    """Merges `patch` into `target` (RFC 7386); None removes a member."""
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, Mapping):
            member = target.get(name)
            if not isinstance(member, MutableMapping):
                member = target[name] = {}
            merge_into(member, value)
        elif name not in target or not _same(target[name], value):
            target[name] = value


def shape_of(manifest: Mapping[str, Any]) -> Shape:
    """Which fields `manifest` sets, without their values. Lists count as one field (they are atomic in our schemas)."""
    return {name: shape_of(value) if isinstance(value, Mapping) else None for name, value in manifest.items()}


def apply_into(target: MutableMapping[str, Any], manifest: Mapping[str, Any], before: Shape) -> None:
    """Makes `target` what a manager applies: sets `manifest`, removes what it set `before` and does not any more.

    As Kubernetes' server-side apply with force: fields that somebody else set and this manager never did stay.
    """
    for name, shape in before.items():
        if name not in manifest:
            _remove(target, name, shape)
    for name, value in manifest.items():
        member = target.get(name)
        if isinstance(value, Mapping) and isinstance(member, MutableMapping):
            apply_into(member, value, before.get(name) or {})
        elif name not in target or not _same(member, value):
            target[name] = value


def _remove(target: MutableMapping[str, Any], name: str, shape: Shape | None) -> None:
    member = target.get(name)
    if shape and isinstance(member, MutableMapping):
        for inner, deeper in shape.items():
            _remove(member, inner, deeper)
        if member:
            return
    target.pop(name, None)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)

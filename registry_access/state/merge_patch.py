"""JSON merge patches (RFC 7386), applied in place so that a commented YAML mapping keeps its comments."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any


def merge_into(target: MutableMapping[str, Any], patch: Mapping[str, Any]) -> None:
    """Merges `patch` into `target`; None removes a member."""
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, Mapping):
            member = target.get(name)
            if not isinstance(member, MutableMapping):
                member = target[name] = {}
            merge_into(member, value)
        elif target.get(name) != value:
            target[name] = value

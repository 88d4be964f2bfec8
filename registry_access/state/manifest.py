"""Manifests as stores handle them: without what only a server sets, and copied where they would be shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# What an API server sets; a file made with `kubectl get -o yaml` has them, and they mean nothing in a write.
SERVER_FIELDS = frozenset({"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"})


def own_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """`manifest` without status and without what a server sets."""
    kept = {name: value for name, value in manifest.items() if name != "status"}
    metadata = manifest.get("metadata")
    if isinstance(metadata, Mapping):
        kept["metadata"] = {name: value for name, value in metadata.items() if name not in SERVER_FIELDS}
    return kept


def plain(value: Any) -> Any:
    """A copy in builtin dicts and lists, shared with nobody."""
    if isinstance(value, Mapping):
        return {str(name): plain(member) for name, member in value.items()}
    if isinstance(value, str):
        return str(value)
    return [plain(member) for member in value] if isinstance(value, Sequence) else value

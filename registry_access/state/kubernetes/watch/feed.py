"""From API objects to the index: parsed, never older than what is there, heartbeats kept out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from sys import intern
from typing import Any

from registry_access.model.errors import InvalidManifest
from registry_access.model.resources import Key, Kind, Namespace, Resource, resource_from_manifest
from registry_access.model.resources.metadata import GROUP, INSTALL_LABEL, SYSTEM_NAMESPACE
from registry_access.state.index import ResourceIndex
from registry_access.state.kubernetes.watch.referenced_secrets import ReferencedSecrets

logger = logging.getLogger(__name__)
HEARTBEAT_LABEL = f"{GROUP}/heartbeat"
HEARTBEAT_PREFIX = f"heartbeat.{GROUP}/"
HEARTBEAT_NAME = "akua-heartbeat"
_PULL_SECRET_MAXIMUM = 32 * 1024  # characters of base64; ours have two


class Feed:
    """What all watches of a store share. A manifest that cannot be used leaves the last good version where it is."""

    def __init__(
        self,
        index: ResourceIndex,
        on_problem: Callable[[InvalidManifest], None] | None = None,
        secrets: ReferencedSecrets | None = None,
    ) -> None:
        self._index = index
        self._on_problem = on_problem
        self._secrets = secrets
        self.problems: dict[Key, InvalidManifest] = {}

    def put(self, key: Key, manifest: dict[str, Any]) -> None:
        """Takes in an object as the API server shows it. Never raises for what is in it."""
        if is_heartbeat(manifest):
            return
        manifest["apiVersion"], manifest["kind"] = key.kind.api_version, str(key.kind)  # a list's items lack them
        if self._secrets is not None and key.kind is Kind.SECRET:
            try:
                narrowed = self._secrets.narrowed(key, manifest)
            except InvalidManifest as problem:
                self._complain(key, problem)
                narrowed = None
            else:
                self.problems.pop(key, None)
            if narrowed is None:
                self._index.remove(key)
                return
            manifest = narrowed
        try:
            resource = resource_from_manifest(_bounded(key, _without_heartbeats(manifest)), source=str(key), strict=False)
        except InvalidManifest as problem:
            self._complain(key, problem)
            return
        self.problems.pop(key, None)
        if resource is None or self._is_old_news(key, resource):
            return
        self._index.put(resource, key)

    def remove(self, key: Key) -> None:
        self.problems.pop(key, None)
        if self._secrets is not None and key.kind is Kind.SECRET:
            self._secrets.forget(key)
        self._index.remove(key)

    def _is_old_news(self, key: Key, resource: Resource) -> bool:
        """An older version than the one shown (from a stale replica), or a namespace in which only a heartbeat changed."""
        known = self._index.get(key)
        if known is None or known.metadata.uid != resource.metadata.uid:
            return False
        if is_older(resource.metadata.resource_version, known.metadata.resource_version):
            return True
        both_namespaces = isinstance(resource, Namespace) and isinstance(known, Namespace)
        return both_namespaces and _told(resource) == _told(known)

    def _complain(self, key: Key, problem: InvalidManifest) -> None:
        if str(self.problems.get(key)) != str(problem):
            logger.warning("an object cannot be used: %s", problem)
            if self._on_problem:
                self._on_problem(problem)
        self.problems[key] = problem


def key_in(kind: Kind, manifest: Mapping[str, Any]) -> Key | None:
    """The key of an API object of `kind`; None when it is none."""
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping) or manifest.get("kind", str(kind)) not in (str(kind), "PartialObjectMetadata"):
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace") or ""
    if not isinstance(name, str) or not name or not isinstance(namespace, str):
        return None
    return Key(kind, intern(namespace), intern(name))


def version_in(manifest: Mapping[str, Any]) -> str:
    metadata = manifest.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
    return version if isinstance(version, str) else ""


def is_older(version: str, other: str) -> bool:
    """Whether a resource version is before another of the same resource type (numbers, KEP-5504); False when unknown."""
    return version.isdigit() and other.isdigit() and int(version) < int(other)


def is_heartbeat(manifest: Mapping[str, Any]) -> bool:
    """Whether an object is there only to be seen through the watch. By its name in our own namespace, not by its label: whoever
    may write that on an install would hide from us that it was revoked.
    """
    metadata = manifest.get("metadata", {})
    return (metadata.get("name"), metadata.get("namespace")) == (HEARTBEAT_NAME, SYSTEM_NAMESPACE)


def _bounded(key: Key, manifest: dict[str, Any]) -> dict[str, Any]:
    """What bears a pull Secret's label and is larger than any of ours is known without its values.

    Such Secrets are watched in all namespaces, and whoever may write Secrets in one could fill our memory with them.
    """
    labels, data = manifest.get("metadata", {}).get("labels"), manifest.get("data")
    if (
        key.kind is not Kind.SECRET
        or not isinstance(labels, Mapping)
        or INSTALL_LABEL not in labels
        or not isinstance(data, Mapping)
    ):
        return manifest
    size = sum(len(value) for value in data.values() if isinstance(value, str))
    return manifest if size <= _PULL_SECRET_MAXIMUM else {**manifest, "data": {}}


def _without_heartbeats(manifest: dict[str, Any]) -> dict[str, Any]:
    annotations = manifest.get("metadata", {}).get("annotations")
    if isinstance(annotations, dict) and any(name.startswith(HEARTBEAT_PREFIX) for name in annotations):
        kept = {name: value for name, value in annotations.items() if not name.startswith(HEARTBEAT_PREFIX)}
        manifest["metadata"]["annotations"] = kept
    return manifest


def _told(resource: Resource) -> tuple[object, ...]:
    metadata = resource.metadata
    return dict(metadata.labels), dict(metadata.annotations), metadata.deletion_time, metadata.generation

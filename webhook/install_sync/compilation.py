"""From an install to the objects of its target namespaces. Pure.

A revoked or expired install keeps its grants: pods are still rewritten and their pulls refused with the reason, where without the
grant they would go to the upstream with no credential and fail with a riddle.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry_access.model.entitlement import entitlement_of
from registry_access.model.label_selector import LabelSelector
from registry_access.model.resources import Install, Namespace, Product
from registry_access.model.resources.metadata import (
    API_VERSION,
    INSTALL_LABEL,
    INSTALL_UID_ANNOTATION,
    INSTALL_WORKSPACE_LABEL,
    MANAGED_BY_LABEL,
    MANAGER,
)
from webhook.install_sync.minting import DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE, docker_config

PULL_SECRET_PREFIX = "akua-pull-"  # noqa: S105 - a name


@dataclass(frozen=True, slots=True)
class Placement:
    """One target namespace, and which of its pods."""

    namespace: str
    pod_selector: LabelSelector


@dataclass(frozen=True, slots=True)
class Provision:
    """The two objects of one target namespace. The Secret goes first: no pod may be rewritten before its token is there."""

    namespace: str
    secret: Mapping[str, Any] = field(repr=False)
    grant: Mapping[str, Any] = field(default_factory=dict)


def place(install: Install, namespaces: Collection[Namespace]) -> Sequence[Placement]:
    """Where `install` goes: named namespaces whether or not they are known here, selected ones by their labels."""
    placed: dict[str, Placement] = {}
    for target in install.targets:
        if target.namespace is not None:
            found = [target.namespace]
        else:
            selector = target.namespace_selector
            found = [space.metadata.name for space in namespaces if selector is None or selector.matches(space.metadata.labels)]
        for namespace in sorted(found):
            # The first target that names a namespace decides which of its pods.
            placed.setdefault(namespace, Placement(namespace, target.pod_selector))
    return tuple(placed.values())


def provision(install: Install, product: Product | None, placement: Placement, host: str, token: str) -> Provision:
    """The pull Secret and the pull grant for one placement."""
    name = install.metadata.name
    images = entitlement_of(install.repositories, product.repositories if product else ()).patterns
    spec: dict[str, Any] = {
        "host": host,
        "images": [str(pattern) for pattern in images],
        "pullSecret": PULL_SECRET_PREFIX + name,
        "podSelector": placement.pod_selector.to_manifest(),
    }
    return Provision(
        placement.namespace,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": _metadata(install, PULL_SECRET_PREFIX + name, placement.namespace),
            "type": DOCKER_CONFIG_TYPE,
            "data": {DOCKER_CONFIG_KEY: base64.b64encode(docker_config(host, name, token)).decode()},
        },
        {
            "apiVersion": API_VERSION,
            "kind": "PullGrant",
            "metadata": _metadata(install, name, placement.namespace),
            "spec": spec,
        },
    )


def _metadata(install: Install, name: str, namespace: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": namespace,
        "labels": {
            MANAGED_BY_LABEL: MANAGER,
            INSTALL_LABEL: install.metadata.name,
            INSTALL_WORKSPACE_LABEL: install.workspace,
        },
        "annotations": {INSTALL_UID_ANNOTATION: install.metadata.uid},
    }

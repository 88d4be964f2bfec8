"""From an install to the objects of its target namespaces. Pure.

A revoked or expired install keeps its grants: pods are still rewritten and their pulls refused with the reason, where without the
grant they would go to the upstream with no credential and fail with a riddle.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry_access.model.entitlement import entitlement_of
from registry_access.model.label_selector import LabelSelector
from registry_access.model.resources import Install, Namespace, Product
from registry_access.model.resources.install import Target
from registry_access.model.resources.metadata import API_VERSION
from webhook.install_sync.objects.minting import DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE, docker_config
from webhook.install_sync.objects.ownership import ownership, pull_secret_name


@dataclass(frozen=True, slots=True)
class Placement:
    """One target namespace, and which of its pods."""

    namespace: str
    pod_selector: LabelSelector


@dataclass(frozen=True, slots=True)
class Provision:
    """The two objects of one target namespace. The Secret goes first: no pod may be rewritten before its token is there.

    No grant: the install is entitled to nothing (its product is gone). A grant that is there then stays, for the reason above.
    """

    namespace: str
    secret: Mapping[str, Any] = field(repr=False)
    grant: Mapping[str, Any] | None


def chosen(target: Target, namespaces: Iterable[Namespace], takes: Callable[[Namespace], bool]) -> Sequence[str]:
    """The names of those among `namespaces` that a target chooses and that take it; the one that it names, whatever is known."""
    if target.namespace is not None:
        return [target.namespace]
    selector = target.namespace_selector
    matched = (space for space in namespaces if selector is None or selector.matches(space.metadata.labels))
    return [space.metadata.name for space in matched if takes(space) and not space.is_reserved]


def add_placements(placed: dict[str, Placement], target: Target, namespaces: Iterable[str]) -> None:
    """The first target that chooses a namespace decides which of its pods."""
    for namespace in sorted(namespaces):
        placed.setdefault(namespace, Placement(namespace, target.pod_selector))


def place(
    install: Install, namespaces: Collection[Namespace], takes: Callable[[Namespace], bool] = lambda namespace: True
) -> Sequence[Placement]:
    """Where `install` goes: named namespaces whatever is known of them here, selected ones by their labels if `takes` says so."""
    placed: dict[str, Placement] = {}
    for target in install.targets:
        add_placements(placed, target, chosen(target, namespaces, takes))
    return tuple(placed.values())


def provision(
    install: Install, product: Product | None, placement: Placement, host: str, token: str, control_plane: str
) -> Provision:
    """The pull Secret and the pull grant for one placement; no grant where the install is entitled to nothing."""
    name = install.metadata.name
    images = entitlement_of(install.repositories, product.repositories if product else ()).patterns
    metadata = {"namespace": placement.namespace, **ownership(install, control_plane)}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": pull_secret_name(name), **metadata},
        "type": DOCKER_CONFIG_TYPE,
        "data": {DOCKER_CONFIG_KEY: base64.b64encode(docker_config(host, name, token)).decode()},
    }
    grant = {
        "apiVersion": API_VERSION,
        "kind": "PullGrant",
        "metadata": {"name": name, **metadata},
        "spec": {
            "host": host,
            "images": [str(pattern) for pattern in images],
            "pullSecret": pull_secret_name(name),
            "podSelector": placement.pod_selector.to_manifest(),
        },
    }
    return Provision(placement.namespace, secret, grant if images else None)

"""Opening the state store that the settings name."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry_access.model.errors import InvalidManifest
from registry_access.model.resources import Kind
from registry_access.settings import Settings
from registry_access.state.cluster_access import cluster_access
from registry_access.state.interface import StateStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SystemSecrets:
    """Names of Secrets in our own namespace: those without which a process cannot serve, and others."""

    needed: frozenset[str]
    optional: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        return self.needed | self.optional


async def open_store(
    settings: Settings,
    *,
    environment: Mapping[str, str] | None = None,
    kinds: Collection[Kind] = frozenset(Kind),
    system_secrets: SystemSecrets | None = None,
    kubeconfigs_only: bool = False,
) -> StateStore:
    """The state store that `settings.state` names, for a process: watched, not yet started. `kinds` are what a cluster is asked
    for.

    `system_secrets` are those of our own namespace that the process reads; None: all. `kubeconfigs_only`: see KubernetesStore.

    Inside a pod the cluster is its own, elsewhere the kubeconfig's. Raises StateUnavailable.
    """
    # Each adapter's libraries are half of what a command needs to start, and memory that the other one has no use for.
    if not settings.in_cluster:
        return _directory_store(settings, watch=True)
    from registry_access.state.kubernetes.store import KubernetesStore

    return KubernetesStore(
        await cluster_access(environment),
        kinds=kinds,
        system_secrets=system_secrets.names if system_secrets else None,
        optional_secrets=system_secrets.optional if system_secrets else (),
        pull_secrets=Kind.PULL_GRANT in kinds,
        kubeconfigs_only=kubeconfigs_only,
        secrets_maximum=settings.workspace_secrets_maximum,
        on_problem=_log_problem,
    )


async def open_snapshot(
    settings: Settings, *, kinds: Collection[Kind], workspace: str = "", provisioned: bool = False
) -> StateStore:
    """The same for a command: read once, of a cluster only what is asked for (see SnapshotStore). Raises StateUnavailable."""
    if not settings.in_cluster:
        return _directory_store(settings, watch=False)
    from registry_access.state.kubernetes.snapshot_store import SnapshotStore

    access = await cluster_access()
    return SnapshotStore(access, kinds=kinds, workspace=workspace, provisioned=provisioned, on_problem=_log_problem)


def _directory_store(settings: Settings, *, watch: bool) -> StateStore:
    from registry_access.state.directory.store import DirectoryStore

    return DirectoryStore(Path(settings.state.partition(":")[2]), watch=watch, on_problem=_log_problem)


def _log_problem(problem: InvalidManifest) -> None:
    logger.warning("a manifest cannot be used; its last good version still applies: %s", problem)

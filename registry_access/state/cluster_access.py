"""The way to the cluster that a program or a command works on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_access.state.kubernetes.client.access import ClusterAccess


async def cluster_access(environment: Mapping[str, str] | None = None) -> ClusterAccess:
    """Inside a pod the way to its own cluster, elsewhere the kubeconfig's. Raises StateUnavailable."""
    # Half of what a command needs to start, and only wanted where there is a cluster.
    from registry_access.state.kubernetes.client.access import in_cluster_access
    from registry_access.state.kubernetes.kubeconfig.own import kubeconfig_access

    given = os.environ if environment is None else environment
    return in_cluster_access(given) if "KUBERNETES_SERVICE_HOST" in given else await kubeconfig_access(given)

"""State as custom resources and Secrets of a cluster: listed and watched as client-go does it, written with field managers.

The only package that knows `kubernetes_asyncio`, and of that only its login plugins for kubeconfigs.
"""

from registry_access.state.kubernetes.client.access import ClusterAccess, in_cluster_access
from registry_access.state.kubernetes.client.api import KubernetesApi
from registry_access.state.kubernetes.kubeconfig.own import kubeconfig_access
from registry_access.state.kubernetes.store import KubernetesStore

__all__ = ["ClusterAccess", "KubernetesApi", "KubernetesStore", "in_cluster_access", "kubeconfig_access"]

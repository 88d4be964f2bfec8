"""Identity and metadata that every resource has, whatever its kind (Kubernetes API conventions, "Metadata")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

GROUP = "registry.akua.dev"
API_VERSION = f"{GROUP}/v1alpha1"
EMPTY: Mapping[str, str] = MappingProxyType({})

WORKSPACE_LABEL = f"{GROUP}/workspace"  # on a Namespace: "true"
SECRET_LABEL = f"{GROUP}/secret"  # on a version Secret: the workspace secret's name
VERSION_LABEL = f"{GROUP}/version"  # on a version Secret: its number
CURRENT_VERSION_ANNOTATION = f"{GROUP}/current-version"  # on the workspace secret
VERSION_STATE_ANNOTATION = f"{GROUP}/version-state"  # on a version Secret: enabled | disabled | destroyed
INSTALL_LABEL = f"{GROUP}/install"  # on what the sync wrote: the install's name
INSTALL_WORKSPACE_LABEL = f"{GROUP}/install-workspace"
INSTALL_UID_ANNOTATION = f"{GROUP}/install-uid"
ORIGINAL_IMAGES_ANNOTATION = f"{GROUP}/original-images"  # on a pod: JSON object, field path -> image
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "akua-install-sync"
SYSTEM_NAMESPACE = "akua-system"


class Kind(StrEnum):
    NAMESPACE = "Namespace"
    SECRET = "Secret"  # noqa: S105 - the kind's name
    REGISTRY_CREDENTIAL = "RegistryCredential"
    PRODUCT = "Product"
    INSTALL = "Install"
    PULL_GRANT = "PullGrant"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """An object's identity within a store: kind, namespace ("" for cluster-scoped kinds), name."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Metadata:
    """`resource_version` is opaque: compare for equality only. `generation` grows with every change of spec."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_time: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    annotations: Mapping[str, str] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Condition:
    """A status condition (Kubernetes API conventions, "Typical status properties"); `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime | None = None

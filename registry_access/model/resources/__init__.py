"""The resources as immutable values, each with its manifest form. One file a kind."""

from registry_access.model.resources.install import Install, InstallStatus, Target, TargetStatus
from registry_access.model.resources.metadata import Condition, Key, Kind, Metadata
from registry_access.model.resources.namespace import Namespace
from registry_access.model.resources.product import Product
from registry_access.model.resources.pull_grant import PullGrant
from registry_access.model.resources.registry_credential import CredentialStatus, CredentialType, RegistryCredential
from registry_access.model.resources.resource import (
    Resource,
    check_transition,
    key_of_manifest,
    kind_of_manifest,
    resource_from_manifest,
)
from registry_access.model.resources.secret import Secret

__all__ = [
    "Condition",
    "CredentialStatus",
    "CredentialType",
    "Install",
    "InstallStatus",
    "Key",
    "Kind",
    "Metadata",
    "Namespace",
    "Product",
    "PullGrant",
    "RegistryCredential",
    "Resource",
    "Secret",
    "Target",
    "TargetStatus",
    "check_transition",
    "key_of_manifest",
    "kind_of_manifest",
    "resource_from_manifest",
]

"""Whose an object in a target namespace is: which install it was written for, and by which control plane.

A workload cluster may run a sync of its own, and may be provisioned from elsewhere too (a kubeconfig Secret, `akua install
bundle`). So that neither clears away what the other wrote, every object carries its control plane's id, and a sync
removes only what carries its own.
"""

from __future__ import annotations

from registry_access.model.resources import Install, Kind, PullGrant, Resource, Secret
from registry_access.model.resources.metadata import (
    GROUP,
    INSTALL_LABEL,
    INSTALL_SYNC_MANAGER,
    INSTALL_UID_ANNOTATION,
    INSTALL_WORKSPACE_LABEL,
    MANAGED_BY_LABEL,
)

PULL_SECRET_PREFIX = "akua-pull-"  # noqa: S105 - a name
CONTROL_PLANE_ANNOTATION = f"{GROUP}/control-plane"
Name = tuple[str, str]  # workspace, install


def pull_secret_name(install: str) -> str:
    return PULL_SECRET_PREFIX + install


def owner_of(resource: Resource | None) -> Name | None:
    """Workspace and install that an object was written for; None for everything that no sync wrote.

    Labels alone make nothing ours: the name must be the one that a sync gives.
    """
    if not isinstance(resource, PullGrant | Secret):
        return None
    labels = resource.metadata.labels
    workspace, install = labels.get(INSTALL_WORKSPACE_LABEL), labels.get(INSTALL_LABEL)
    if labels.get(MANAGED_BY_LABEL) != INSTALL_SYNC_MANAGER or not workspace or not install:
        return None
    named = install if resource.kind is Kind.PULL_GRANT else pull_secret_name(install)
    return (workspace, install) if resource.metadata.name == named else None


def made_by(resource: Resource, control_plane: str) -> bool:
    """Whether the sync of `control_plane` wrote it."""
    return resource.metadata.annotations.get(CONTROL_PLANE_ANNOTATION) == control_plane


def belongs_to(resource: Resource, install: Install, control_plane: str) -> bool:
    """Whether `install` may write over it: it bears its UID, or its name from this control plane (the install was recreated)."""
    if resource.metadata.annotations.get(INSTALL_UID_ANNOTATION) == install.metadata.uid:
        return True
    return made_by(resource, control_plane) and owner_of(resource) == (install.workspace, install.metadata.name)


def ownership(install: Install, control_plane: str) -> dict[str, dict[str, str]]:
    """The labels and annotations that say all this."""
    labels = {
        MANAGED_BY_LABEL: INSTALL_SYNC_MANAGER,
        INSTALL_LABEL: install.metadata.name,
        INSTALL_WORKSPACE_LABEL: install.workspace,
    }
    annotations = {INSTALL_UID_ANNOTATION: install.metadata.uid, CONTROL_PLANE_ANNOTATION: control_plane}
    return {"labels": labels, "annotations": annotations}

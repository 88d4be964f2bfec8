"""A sync on request: the annotation `registry.akua.dev/sync-requested` on an install or on its workspace's namespace.

A new value is a new request. The install's status has the answer, so that the requester can wait for it and a new leader knows
which requests are open.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from registry_access.model.resources import Install, Namespace
from registry_access.model.resources.install import MAXIMUM_REQUEST, InstallStatus
from registry_access.model.resources.metadata import SYNC_REQUESTED_ANNOTATION


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What the annotations say, "" where there is none."""

    install: str = ""
    workspace: str = ""

    def is_open(self, status: InstallStatus) -> bool:
        """Whether the status does not answer it yet."""
        return bool(
            (self.install and self.install != status.observed_sync_request)
            or (self.workspace and self.workspace != status.observed_workspace_sync_request)
        )


def sync_request(install: Install, workspace: Namespace | None) -> SyncRequest:
    return SyncRequest(_asked(install), _asked(workspace))


def _asked(resource: Install | Namespace | None) -> str:
    """Annotations may be long; what does not fit into a status is answered by its hash."""
    value = resource.metadata.annotations.get(SYNC_REQUESTED_ANNOTATION, "") if resource else ""
    return value if len(value) <= MAXIMUM_REQUEST else "sha256:" + hashlib.sha256(value.encode()).hexdigest()

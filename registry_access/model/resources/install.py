"""Install: one deployment of something; the unit of tokens, entitlement, audit and revocation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from sys import intern
from typing import ClassVar

from registry_access.model.label_selector import EVERYTHING, LabelSelector
from registry_access.model.names.repository_pattern import RepositoryPattern
from registry_access.model.resources.field_reader import FieldReader, Origin, Path, rfc3339
from registry_access.model.resources.metadata import (
    Condition,
    Kind,
    Metadata,
    WorkspaceOwned,
    manifest_of,
    read_frame,
    read_status,
)
from registry_access.model.resources.product import MAXIMUM_REPOSITORIES, shared_pattern
from registry_access.model.resources.selector import read_selector

MAXIMUM_TARGETS = 64
MAXIMUM_TARGET_STATUS = 2048  # a namespace selector may choose many
MAXIMUM_CLUSTERS = 16
MAXIMUM_REQUEST = 253  # of what a person may give a request for a sync as its name
MAXIMUM_TOKEN_GENERATION = 2**31 - 1


class Standing(StrEnum):
    """Whether an install may pull at all, whatever it is entitled to."""

    GOOD = "good"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Target:
    """Where an install's pods run: exactly one of `namespace` and `namespace_selector`, narrowed by `pod_selector`."""

    namespace: str | None = None
    namespace_selector: LabelSelector | None = None
    pod_selector: LabelSelector = EVERYTHING

    @classmethod
    def read(cls, reader: FieldReader) -> Target:
        named, selected = reader.has("namespace"), reader.has("namespaceSelector")
        if named and selected:
            raise reader.invalid("namespaceSelector", "a target has a namespace or a namespaceSelector, not both", "remove one")
        if not named and not selected:
            raise reader.invalid("namespace", "a target needs a namespace or a namespaceSelector", "write one of them")
        target = cls(
            namespace=reader.name("namespace", default=None, maximum=63) if named else None,
            namespace_selector=read_selector(reader.child("namespaceSelector")) if selected else None,
            pod_selector=read_selector(reader.child("podSelector")),
        )
        reader.refuse_unknown()
        return target

    def to_manifest(self) -> dict[str, object]:
        manifest: dict[str, object] = {}
        if self.namespace is not None:
            manifest["namespace"] = self.namespace
        if self.namespace_selector is not None:
            manifest["namespaceSelector"] = self.namespace_selector.to_manifest()
        if not self.pod_selector.selects_everything:
            manifest["podSelector"] = self.pod_selector.to_manifest()
        return manifest


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """Whether pull grant and pull Secret are in one namespace; `message` says what is in the way."""

    namespace: str
    synced: bool
    message: str = ""

    @classmethod
    def read(cls, reader: FieldReader) -> TargetStatus:
        return cls(
            intern(reader.text("namespace", default=None)),
            reader.flag("synced"),
            reader.text("message", default="", maximum=32768),
        )

    def to_manifest(self) -> dict[str, object]:
        manifest: dict[str, object] = {"namespace": self.namespace, "synced": self.synced}
        return manifest | ({"message": self.message} if self.message else {})


@dataclass(frozen=True, slots=True)
class InstallStatus:
    """`conditions`: Ready, Synced, and Syncing while a large one is under way. `token_id`: the jti in the pull Secrets.

    `last_sync_time`: when something was last written to the targets. `observed_...`: the requests that were answered last.
    `clusters`: the kubeconfig Secrets of the remote clusters that something of it may be in.
    """

    conditions: tuple[Condition, ...] = ()
    token_id: str = ""
    token_expires_at: datetime | None = None
    targets: tuple[TargetStatus, ...] = ()
    last_pull_time: datetime | None = None
    denied_pulls: int = 0
    last_sync_time: datetime | None = None
    observed_sync_request: str = ""
    observed_workspace_sync_request: str = ""
    clusters: tuple[str, ...] = ()

    @classmethod
    def read(cls, reader: FieldReader) -> InstallStatus:
        return cls(
            conditions=tuple(Condition.read(item) for item in reader.children("conditions")),
            token_id=reader.text("tokenID", default=""),
            token_expires_at=reader.time("tokenExpiresAt"),
            targets=tuple(TargetStatus.read(item) for item in reader.children("targets", maximum_items=MAXIMUM_TARGET_STATUS)),
            last_pull_time=reader.time("lastPullTime"),
            denied_pulls=reader.number("deniedPulls", default=0, minimum=0),
            last_sync_time=reader.time("lastSyncTime"),
            observed_sync_request=reader.text("observedSyncRequest", default=""),
            observed_workspace_sync_request=reader.text("observedWorkspaceSyncRequest", default=""),
            clusters=tuple(reader.texts("clusters")),
        )

    def to_manifest(self) -> dict[str, object]:
        manifest = {
            "conditions": [condition.to_manifest() for condition in self.conditions],
            "tokenID": self.token_id,
            "tokenExpiresAt": rfc3339(self.token_expires_at),
            "targets": [target.to_manifest() for target in self.targets],
            "lastPullTime": rfc3339(self.last_pull_time),
            "deniedPulls": self.denied_pulls,
            "lastSyncTime": rfc3339(self.last_sync_time),
            "observedSyncRequest": self.observed_sync_request,
            "observedWorkspaceSyncRequest": self.observed_workspace_sync_request,
            "clusters": list(self.clusters),
        }
        return {name: value for name, value in manifest.items() if value}


@dataclass(frozen=True, slots=True)
class Install(WorkspaceOwned):
    """May pull its product's `repositories` and its own. Tokens of an earlier `token_generation` are superseded.

    `kubeconfig_secret` names a Secret of the workspace that reaches a remote cluster; None: this cluster.
    """

    kind: ClassVar[Kind] = Kind.INSTALL
    metadata: Metadata
    product: str | None = None
    repositories: tuple[RepositoryPattern, ...] = ()
    targets: tuple[Target, ...] = ()
    kubeconfig_secret: str | None = None
    revoked: bool = False
    expires_at: datetime | None = None
    token_generation: int = 1
    status: InstallStatus = InstallStatus()

    def standing(self, now: datetime) -> Standing:
        if self.revoked:
            return Standing.REVOKED
        return Standing.EXPIRED if self.expires_at is not None and self.expires_at <= now else Standing.GOOD

    @classmethod
    def from_manifest(
        cls, manifest: object, *, source: str = "", lines: Callable[[Path], int] | None = None, strict: bool = True
    ) -> Install:
        """Raises InvalidManifest."""
        reader, metadata = read_frame(manifest, Origin(source, lines, strict), cls.kind)
        spec, cluster = reader.child("spec"), reader.child("spec").child("cluster")
        spec.ignore("cluster")
        install = cls(
            metadata=metadata,
            product=spec.name("product", default="") or None,
            repositories=spec.parsed_list("repositories", shared_pattern, maximum_items=MAXIMUM_REPOSITORIES),
            targets=tuple(Target.read(item) for item in spec.children("targets", maximum_items=MAXIMUM_TARGETS)),
            kubeconfig_secret=cluster.name("kubeconfigSecret", default="") or None,
            revoked=spec.flag("revoked"),
            expires_at=spec.time("expiresAt"),
            token_generation=spec.number("tokenGeneration", default=1, minimum=1, maximum=MAXIMUM_TOKEN_GENERATION),
            status=read_status(reader, InstallStatus.read, InstallStatus()),
        )
        if install.product is None and not install.repositories:
            raise spec.invalid("product", "an install that may pull nothing", "name a product, or list repositories")
        for part in (cluster, spec, reader):
            part.refuse_unknown()
        return install

    def to_manifest(self) -> dict[str, object]:
        spec: dict[str, object] = {
            "product": self.product,
            "repositories": [str(pattern) for pattern in self.repositories],
            "targets": [target.to_manifest() for target in self.targets],
            "cluster": {"kubeconfigSecret": self.kubeconfig_secret} if self.kubeconfig_secret else None,
            "revoked": self.revoked,
            "expiresAt": rfc3339(self.expires_at),
            "tokenGeneration": self.token_generation,
        }
        return manifest_of(self, spec={name: value for name, value in spec.items() if value}, status=self.status.to_manifest())

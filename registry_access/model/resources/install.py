"""Install: one deployment of something; the unit of tokens, entitlement, audit and revocation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from sys import intern
from typing import ClassVar

from registry_access.model.install_identity import InstallIdentity
from registry_access.model.label_selector import EVERYTHING, LabelSelector
from registry_access.model.names.repository_pattern import RepositoryPattern
from registry_access.model.resources.declaration import (
    below,
    flag,
    member,
    moment,
    name,
    number,
    parsed_list,
    read_members,
    several,
    text,
    texts,
    write_members,
)
from registry_access.model.resources.field_reader import FieldReader, Origin, Path
from registry_access.model.resources.metadata import (
    MAXIMUM_CONDITIONS,
    Condition,
    HasConditions,
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
class InstallStatus(HasConditions):
    """`conditions`: Ready, Synced, and Syncing while a large one is under way. `token_id`: the jti in the pull Secrets.

    `last_sync_time`: when something was last written to the targets. `observed_...`: the requests that were answered last.
    `clusters`: the kubeconfig Secrets of the remote clusters that something of it may be in.
    """

    conditions: tuple[Condition, ...] = field(
        default=(), metadata=member("conditions", several(Condition, maximum=MAXIMUM_CONDITIONS))
    )
    token_id: str = field(default="", metadata=member("tokenID", text()))
    token_expires_at: datetime | None = field(default=None, metadata=member("tokenExpiresAt", moment()))
    targets: tuple[TargetStatus, ...] = field(
        default=(), metadata=member("targets", several(TargetStatus, maximum=MAXIMUM_TARGET_STATUS))
    )
    last_pull_time: datetime | None = field(default=None, metadata=member("lastPullTime", moment()))
    denied_pulls: int = field(default=0, metadata=member("deniedPulls", number()))
    last_sync_time: datetime | None = field(default=None, metadata=member("lastSyncTime", moment()))
    observed_sync_request: str = field(default="", metadata=member("observedSyncRequest", text()))
    observed_workspace_sync_request: str = field(default="", metadata=member("observedWorkspaceSyncRequest", text()))
    clusters: tuple[str, ...] = field(default=(), metadata=member("clusters", texts(maximum=MAXIMUM_CLUSTERS)))

    @classmethod
    def read(cls, reader: FieldReader) -> InstallStatus:
        return cls(**read_members(cls, reader))

    def to_manifest(self) -> dict[str, object]:
        return write_members(self)


@dataclass(frozen=True, slots=True)
class Install(WorkspaceOwned):
    """May pull its product's `repositories` and its own. Tokens of an earlier `token_generation` are superseded.

    `kubeconfig_secret` names a Secret of the workspace that reaches a remote cluster; None: this cluster.
    """

    kind: ClassVar[Kind] = Kind.INSTALL
    metadata: Metadata
    product: str | None = field(default=None, metadata=member("product", name()))
    repositories: tuple[RepositoryPattern, ...] = field(
        default=(), metadata=member("repositories", parsed_list(shared_pattern, maximum=MAXIMUM_REPOSITORIES))
    )
    targets: tuple[Target, ...] = field(default=(), metadata=member("targets", several(Target, maximum=MAXIMUM_TARGETS)))
    kubeconfig_secret: str | None = field(default=None, metadata=member("cluster", below("kubeconfigSecret", name())))
    revoked: bool = field(default=False, metadata=member("revoked", flag()))
    expires_at: datetime | None = field(default=None, metadata=member("expiresAt", moment()))
    token_generation: int = field(
        default=1, metadata=member("tokenGeneration", number(default=1, minimum=1, maximum=MAXIMUM_TOKEN_GENERATION))
    )
    status: InstallStatus = InstallStatus()

    @property
    def identity(self) -> InstallIdentity:
        """What a token made for it now binds."""
        return InstallIdentity(self.workspace, self.metadata.name, self.metadata.uid, self.token_generation)

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
        spec = reader.child("spec")
        status = read_status(reader, InstallStatus.read, InstallStatus())
        install = cls(metadata=metadata, **read_members(cls, spec), status=status)
        if install.product is None and not install.repositories:
            raise spec.invalid("product", "an install needs a product or repositories", "name a product, or list repositories")
        spec.refuse_unknown()
        reader.refuse_unknown()
        return install

    def to_manifest(self) -> dict[str, object]:
        return manifest_of(self, spec=write_members(self), status=self.status.to_manifest())

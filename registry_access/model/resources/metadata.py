"""Identity and metadata that every resource has, whatever its kind (Kubernetes API conventions, "Metadata")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from sys import intern
from typing import ClassVar, NamedTuple, TypeVar

from registry_access.model.errors import InvalidManifest
from registry_access.model.resources.field_reader import FieldReader, Origin
from registry_access.model.shared_map import EMPTY, shared_map
from registry_access.model.timestamp import rfc3339

S = TypeVar("S")
GROUP = "registry.akua.dev"
API_VERSION = f"{GROUP}/v1alpha1"
CORE_API_VERSION = "v1"
# kubectl's copy of what was applied: as large as the object itself, and with a Secret's values in it.
LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"

WORKSPACE_LABEL = f"{GROUP}/workspace"  # on a Namespace: "true"
TAKES_ANNOTATION = f"{GROUP}/workspaces"  # on a Namespace: whose installs it takes, comma-separated; * for any, "" for none
SECRET_LABEL = f"{GROUP}/secret"  # on a version Secret: the workspace secret's name
VERSION_LABEL = f"{GROUP}/version"  # on a version Secret: its number
CURRENT_VERSION_ANNOTATION = f"{GROUP}/current-version"  # on the workspace secret
VERSION_STATE_ANNOTATION = f"{GROUP}/version-state"  # on a version Secret: enabled | disabled | destroyed
REGISTRIES_ANNOTATION = f"{GROUP}/registries"  # on a workspace secret or a version: the hosts that it may be sent to
INSTALL_LABEL = f"{GROUP}/install"  # on what the sync wrote: the install's name
INSTALL_WORKSPACE_LABEL = f"{GROUP}/install-workspace"
INSTALL_UID_ANNOTATION = f"{GROUP}/install-uid"
SYNC_REQUESTED_ANNOTATION = f"{GROUP}/sync-requested"  # on an install, or on a workspace's namespace for all its installs
REMOTE_FINALIZER = f"{GROUP}/remote-cleanup"  # on an install that was sent to another cluster, until it is cleared there
ORIGINAL_IMAGES_ANNOTATION = f"{GROUP}/original-images"  # on a pod: JSON object, "containers/web" -> image as written
INSTALLS_ANNOTATION = f"{GROUP}/installs"  # on a pod: the installs whose grants rewrote it, comma-separated
PART_LABEL = f"{GROUP}/part"  # on our own pods: webhook | proxy | node-trust
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
PART_OF: Mapping[str, str] = shared_map({"app.kubernetes.io/part-of": "akua-registry-access"})
INSTALL_SYNC_MANAGER = "akua-install-sync"
MAXIMUM_CONDITIONS = 16  # of a status
SYSTEM_NAMESPACE = "akua-system"
# What the cluster needs to run, and what we need: their pods are never rewritten (manifests/base/webhook/admission.yaml has the
# same list), so no install goes there, and none of them is a workspace.
RESERVED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", SYSTEM_NAMESPACE, "akua-node-trust"})
# Types of conditions. Of a credential: Ready, Verified. Of an install: Ready, Synced, Pullable.
READY, SYNCED, VERIFIED, PULLABLE = "Ready", "Synced", "Verified", "Pullable"


class Kind(StrEnum):
    NAMESPACE = "Namespace"
    SECRET = "Secret"  # noqa: S105 - the kind's name
    REGISTRY_CREDENTIAL = "RegistryCredential"
    PRODUCT = "Product"
    INSTALL = "Install"
    PULL_GRANT = "PullGrant"

    @property
    def namespaced(self) -> bool:
        return self is not Kind.NAMESPACE

    @property
    def api_version(self) -> str:
        return CORE_API_VERSION if self in (Kind.NAMESPACE, Kind.SECRET) else API_VERSION


class Key(NamedTuple):
    """An object's identity within a store: kind, namespace ("" for cluster-scoped kinds), name."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Metadata:
    """`resource_version` is opaque: compare for equality only. `generation` grows with every change of spec.

    `deletion_time` is set while finalizers hold a deleted object back; to every gate such an object is gone.
    """

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_time: datetime | None = None
    labels: Mapping[str, str] = EMPTY
    annotations: Mapping[str, str] = EMPTY
    deletion_time: datetime | None = None
    finalizers: tuple[str, ...] = ()

    @classmethod
    def read(cls, reader: FieldReader, kind: Kind) -> Metadata:
        """The `metadata` of a manifest of `kind`. Raises InvalidManifest."""
        reader.ignore("managedFields", "ownerReferences", "generateName", "selfLink", "deletionGracePeriodSeconds")
        name = reader.name("name", default=None)
        namespace = reader.name("namespace", default="", maximum=63)
        if kind.namespaced and not namespace:
            raise reader.invalid("namespace", f"a {kind} lives in a namespace", "write metadata.namespace")
        if namespace and not kind.namespaced:
            raise reader.invalid("namespace", f"a {kind} lives in no namespace", "remove metadata.namespace")
        annotations = reader.text_map("annotations")
        annotations.pop(LAST_APPLIED_ANNOTATION, None)
        metadata = cls(
            name=name,
            namespace=intern(namespace),
            uid=reader.text("uid", default=""),
            resource_version=reader.text("resourceVersion", default=""),
            generation=reader.number("generation", default=0, minimum=0),
            creation_time=reader.time("creationTimestamp"),
            labels=shared_map(reader.text_map("labels")),
            annotations=shared_map(annotations),
            deletion_time=reader.time("deletionTimestamp"),
            finalizers=tuple(intern(item) for item in reader.texts("finalizers")),
        )
        reader.refuse_unknown()
        return metadata

    def to_manifest(self) -> dict[str, object]:
        manifest: dict[str, object] = {"name": self.name}
        optional: tuple[tuple[str, object], ...] = (
            ("namespace", self.namespace),
            ("uid", self.uid),
            ("resourceVersion", self.resource_version),
            ("generation", self.generation),
            ("creationTimestamp", rfc3339(self.creation_time)),
            ("deletionTimestamp", rfc3339(self.deletion_time)),
            ("labels", dict(self.labels)),
            ("annotations", dict(self.annotations)),
            ("finalizers", list(self.finalizers)),
        )
        manifest.update((name, value) for name, value in optional if value)
        return manifest


class Identified:
    """What every resource class has beside its own fields. Subclasses are frozen, slotted dataclasses."""

    __slots__ = ()
    kind: ClassVar[Kind]
    metadata: Metadata

    @property
    def key(self) -> Key:
        return Key(self.kind, self.metadata.namespace, self.metadata.name)

    @property
    def deleting(self) -> bool:
        """Deleted, and only held back by a finalizer."""
        return self.metadata.deletion_time is not None


class WorkspaceOwned(Identified):
    """What a workspace owns: it lives in the workspace's namespace."""

    __slots__ = ()

    @property
    def workspace(self) -> str:
        return self.metadata.namespace


class HasConditions:
    """A status with conditions, at most one of each type."""

    __slots__ = ()
    conditions: tuple[Condition, ...]

    def condition(self, type: str) -> Condition | None:
        return next((each for each in self.conditions if each.type == type), None)


@dataclass(frozen=True, slots=True)
class Condition:
    """A status condition (Kubernetes API conventions, "Typical status properties"); `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime | None = None

    @classmethod
    def read(cls, reader: FieldReader) -> Condition:
        return cls(
            type=intern(reader.text("type", default=None)),
            status=intern(reader.text("status", default="Unknown")),
            reason=intern(reader.text("reason", default="")),
            message=intern(reader.text("message", default="", maximum=32768)),
            observed_generation=reader.number("observedGeneration", default=0, minimum=0),
            last_transition_time=reader.time("lastTransitionTime"),
        )

    def to_manifest(self) -> dict[str, object]:
        manifest: dict[str, object] = {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": rfc3339(self.last_transition_time),
        }
        if self.observed_generation:
            manifest["observedGeneration"] = self.observed_generation
        return manifest

    def following(self, before: Condition | None, now: datetime) -> Condition:
        """This condition with its transition time: of `before` unless the status differs, else `now` (to the second)."""
        stays = before is not None and before.status == self.status
        began = before.last_transition_time if before is not None and stays else None
        return replace(self, last_transition_time=began or now.replace(microsecond=0))


def condition_of(conditions: Iterable[Condition], type: str) -> Condition | None:
    """The condition of that type, if there is one."""
    return next((condition for condition in conditions if condition.type == type), None)


def read_status(reader: FieldReader, read: Callable[[FieldReader], S], empty: S) -> S:
    """The `status` of a manifest. Controllers write it, not people: one that cannot be read counts as not written yet."""
    try:
        return read(reader.child("status"))
    except InvalidManifest:
        return empty


def manifest_of(resource: Identified, **parts: Mapping[str, object]) -> dict[str, object]:
    """A manifest's frame around `parts` (spec, status, ...); empty parts are left out."""
    frame: dict[str, object] = {
        "apiVersion": resource.kind.api_version,
        "kind": str(resource.kind),
        "metadata": resource.metadata.to_manifest(),
    }
    frame.update((name, part) for name, part in parts.items() if part)
    return frame


def read_frame(manifest: object, origin: Origin, kind: Kind) -> tuple[FieldReader, Metadata]:
    """A manifest's reader, and its metadata read, once apiVersion and kind are as they must be. Raises InvalidManifest."""
    reader = FieldReader(manifest, origin)
    for name, wanted in (("apiVersion", kind.api_version), ("kind", str(kind))):
        found = reader.text(name, default=None)
        if found != wanted:
            raise reader.invalid(name, f"{found!r} is not {wanted!r}", f"write {name}: {wanted}")
    return reader, Metadata.read(reader.child("metadata"), kind)

"""Any resource of ours: from a manifest of any kind, and the rules between one version of an object and the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from registry_access.model.errors import InvalidManifest
from registry_access.model.resources.field_reader import Origin, Path
from registry_access.model.resources.install import Install
from registry_access.model.resources.metadata import API_VERSION, GROUP, Key, Kind
from registry_access.model.resources.namespace import Namespace
from registry_access.model.resources.product import Product
from registry_access.model.resources.pull_grant import PullGrant
from registry_access.model.resources.registry_credential import RegistryCredential
from registry_access.model.resources.secret import Secret

Resource = Namespace | Secret | RegistryCredential | Product | Install | PullGrant

_CLASSES: Mapping[Kind, type[Resource]] = {
    Kind.NAMESPACE: Namespace,
    Kind.SECRET: Secret,
    Kind.REGISTRY_CREDENTIAL: RegistryCredential,
    Kind.PRODUCT: Product,
    Kind.INSTALL: Install,
    Kind.PULL_GRANT: PullGrant,
}


def resource_from_manifest(
    manifest: object, *, source: str = "", lines: Callable[[Path], int] | None = None, strict: bool = True
) -> Resource | None:
    """The resource that a manifest describes; None when its kind is not one of ours. Raises InvalidManifest.

    A kind of our API group that does not exist, and a manifest with no kind at all, are errors.
    """
    kind = kind_of_manifest(manifest, source=source, lines=lines)
    if kind is None:
        return None
    return _CLASSES[kind].from_manifest(manifest, source=source, lines=lines, strict=strict)


def kind_of_manifest(manifest: object, *, source: str = "", lines: Callable[[Path], int] | None = None) -> Kind | None:
    """The kind of ours that a manifest states, or None. Raises InvalidManifest."""
    origin = Origin(source, lines)
    if not isinstance(manifest, Mapping):
        raise origin.invalid((), "is not a manifest", "write apiVersion, kind, metadata and spec")
    version, kind = manifest.get("apiVersion"), manifest.get("kind")
    for name, value in (("apiVersion", version), ("kind", kind)):
        if not isinstance(value, str) or not value:
            raise origin.invalid((name,), "is missing", f"write {name}, such as `{_EXAMPLES[name]}`")
    found = next((item for item in Kind if item == kind and item.api_version == version), None)
    if found is None and str(version).partition("/")[0] == GROUP:
        raise _unknown_kind(origin, str(version), str(kind))
    return found


def key_of_manifest(manifest: Mapping[str, object]) -> Key:
    """The key that a manifest of ours states. Raises InvalidManifest when it has no kind of ours or no name."""
    kind = kind_of_manifest(manifest)
    metadata = manifest.get("metadata")
    if kind is None:
        raise InvalidManifest("not a kind of ours", field="kind", remedy=f"write one of {', '.join(Kind)}")
    fields = metadata if isinstance(metadata, Mapping) else {}
    name, namespace = fields.get("name"), fields.get("namespace") or ""
    if not isinstance(name, str) or not isinstance(namespace, str) or not name:
        raise InvalidManifest("is missing", field="metadata.name", remedy="write metadata.name")
    return Key(kind, namespace if kind.namespaced else "", name)


def check_transition(before: Resource | None, after: Resource, *, source: str = "") -> None:
    """The rules that need both versions of an object; the CRDs say the same in CEL. Raises InvalidManifest."""
    if isinstance(before, RegistryCredential) and isinstance(after, RegistryCredential) and before.registry != after.registry:
        raise InvalidManifest(
            f"a credential stays with its registry ({before.registry})",
            field="spec.registry",
            remedy="delete the credential and create another, so that its secret is never sent to a new host by an edit",
            source=source,
        )
    if isinstance(before, Install) and isinstance(after, Install) and after.token_generation < before.token_generation:
        raise InvalidManifest(
            f"{after.token_generation} would bring superseded tokens back to life",
            field="spec.tokenGeneration",
            remedy=f"write {before.token_generation} or more",
            source=source,
        )
    if isinstance(before, Secret) and isinstance(after, Secret) and not _keeps_immutable(before, after):
        raise InvalidManifest(
            "this Secret is immutable", field="data", remedy="create another one, such as a new version", source=source
        )


_EXAMPLES = {"apiVersion": f"apiVersion: {API_VERSION}", "kind": "kind: Install"}


def _unknown_kind(origin: Origin, version: str, kind: str) -> InvalidManifest:
    if version != API_VERSION:
        return origin.invalid(("apiVersion",), f"{version!r} is not served", f"write apiVersion: {API_VERSION}")
    ours = [str(item) for item in Kind if item.api_version == API_VERSION]
    near = get_close_matches(kind, ours, n=1)
    return origin.invalid(("kind",), f"{kind!r} is not a kind", f"did you mean {near[0]}?" if near else f"{', '.join(ours)} are")


def _keeps_immutable(before: Secret, after: Secret) -> bool:
    return not before.immutable or (after.immutable and after.data == before.data)

"""Where each kind stands in the Kubernetes API."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from registry_access.model.resources import Key, Kind

PLURALS = {
    Kind.NAMESPACE: "namespaces",
    Kind.SECRET: "secrets",
    Kind.REGISTRY_CREDENTIAL: "registrycredentials",
    Kind.PRODUCT: "products",
    Kind.INSTALL: "installs",
    Kind.PULL_GRANT: "pullgrants",
}


@dataclass(frozen=True, slots=True)
class WatchScope:
    """What one watch covers: a kind, in one namespace or ("") all, narrowed by selectors."""

    kind: Kind
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""

    @property
    def path(self) -> str:
        return collection_path(self.kind, self.namespace)

    @property
    def selectors(self) -> dict[str, str]:
        given = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return {name: value for name, value in given.items() if value}

    def __str__(self) -> str:
        narrowed = "".join(f" ({value})" for value in self.selectors.values())
        return f"{PLURALS[self.kind]}{f' of {self.namespace}' if self.namespace else ''}{narrowed}"


def collection_path(kind: Kind, namespace: str) -> str:
    """The path of a kind's objects, of one namespace or ("") of all."""
    return path_of(kind.api_version, PLURALS[kind], namespace)


def object_path(key: Key) -> str:
    return path_of(key.kind.api_version, PLURALS[key.kind], key.namespace, key.name)


def path_of(api_version: str, plural: str, namespace: str, name: str = "") -> str:
    """The path of any kind's objects, in a namespace or ("") across all; with `name`, of one."""
    segments = ["apis" if "/" in api_version else "api", api_version]
    segments += ["namespaces", quote(namespace, safe="")] if namespace else []
    segments += [plural, quote(name, safe="")] if name else [plural]
    return "/" + "/".join(segments)

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
class Scope:
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
    version = kind.api_version
    prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{prefix}/namespaces/{quote(namespace, safe='')}/{PLURALS[kind]}" if namespace else f"{prefix}/{PLURALS[kind]}"


def object_path(key: Key) -> str:
    return f"{collection_path(key.kind, key.namespace)}/{quote(key.name, safe='')}"

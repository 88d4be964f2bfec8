"""An opened state store and the workspace that a user works in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from proxy.assembly import PROXY_KINDS
from registry_access.model.errors import InvalidInput, NotFound, StateUnavailable
from registry_access.model.resources import Install, Key, Kind, Product, RegistryCredential
from registry_access.model.resources.metadata import API_VERSION, RESERVED_NAMESPACES, WORKSPACE_LABEL
from registry_access.model.workspace_secret import ResolvedSecret, SecretProblem, resolve_secret
from registry_access.settings import Settings
from registry_access.state.index import ResourceIndex
from registry_access.state.interface import StateStore
from registry_access.state.opening import open_snapshot

CLI_MANAGER = "akua-cli"


@dataclass(frozen=True, slots=True)
class Session:
    """An opened store, read once, and the workspace to work in. The finders raise NotFound and list the known names.

    `sealed`: the user may not list the workspace's Secrets.
    """

    settings: Settings
    store: StateStore
    workspace: str
    sealed: bool = False

    @property
    def index(self) -> ResourceIndex:
        return self.store.index

    def key(self, kind: Kind, name: str) -> Key:
        return Key(kind, self.workspace, name)

    def manifest(self, kind: Kind, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """A manifest of this workspace, without empty members of `spec`."""
        said = {member: value for member, value in spec.items() if value not in (None, "", [], False)}
        return {
            "apiVersion": API_VERSION,
            "kind": str(kind),
            "metadata": {"name": name, "namespace": self.workspace},
            "spec": said,
        }

    def install(self, name: str) -> Install:
        found = self.index.install(self.workspace, name)
        return found or self._missing("install", name, [item.metadata.name for item in self.installs()])

    def product(self, name: str) -> Product:
        found = self.index.product(self.workspace, name)
        return found or self._missing("product", name, [item.metadata.name for item in self.products()])

    def credential(self, name: str) -> RegistryCredential:
        found = self.index.credential(self.workspace, name)
        return found or self._missing("credential", name, [item.metadata.name for item in self.credentials()])

    def installs(self) -> list[Install]:
        found = (item for item in self.index.installs() if item.workspace == self.workspace)
        return sorted(found, key=lambda item: item.metadata.name)

    def products(self) -> list[Product]:
        found = (item for item in self.index.products() if item.workspace == self.workspace)
        return sorted(found, key=lambda item: item.metadata.name)

    def credentials(self) -> list[RegistryCredential]:
        found = (item for item in self.index.all_credentials() if item.workspace == self.workspace)
        return sorted(found, key=lambda item: item.metadata.name)

    def value_of(self, credential: RegistryCredential) -> ResolvedSecret | SecretProblem:
        """The current value behind a credential. Raises StateUnavailable if the user may not list Secrets."""
        if self.sealed and credential.secret_name is not None:
            raise StateUnavailable(
                f"you may not list Secrets in {self.workspace}, so akua cannot tell whether credential "
                f"{credential.metadata.name} has a value; ask for the role edit or admin in that namespace"
            )
        return resolve_secret(credential, lambda name: self.index.secret(self.workspace, name))

    async def ensure_workspace(self) -> None:
        """Creates the workspace if it does not exist, so that the first `add` or `create` needs no earlier step."""
        if self.workspace not in self.index.workspaces():
            await self.store.apply(workspace_manifest(self.workspace), manager=CLI_MANAGER)

    def _missing(self, word: str, name: str, known: list[str]) -> Any:
        there = f"; known: {', '.join(sorted(known)[:12])}" if known else ""
        raise NotFound(f"workspace {self.workspace} has no {word} {name}{there}")


def workspace_manifest(name: str) -> dict[str, Any]:
    """Raises InvalidInput for a namespace that cannot be a workspace."""
    if name in RESERVED_NAMESPACES:
        raise InvalidInput(f"namespace {name} is reserved and cannot be a workspace", remedy="use another namespace")
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {WORKSPACE_LABEL: "true"}}}


@asynccontextmanager
async def opened(
    settings: Settings, workspace: str = "", *, kinds: Collection[Kind] = PROXY_KINDS, provisioned: bool = False
) -> AsyncIterator[StateStore]:
    """The state store, read once. In a cluster, `workspace` limits it to one workspace; "" means all. Raises StateUnavailable."""
    store = await open_snapshot(settings, kinds=kinds, workspace=workspace, provisioned=provisioned)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


def workspaces(index: ResourceIndex) -> list[str]:
    """Namespaces that are labelled as workspaces, and unlabelled ones that hold a workspace's resources."""
    owners = (*index.installs(), *index.products(), *index.all_credentials())
    return sorted({*index.workspaces(), *(resource.metadata.namespace for resource in owners)})

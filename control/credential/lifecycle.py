"""Adding, disabling, deleting and rotating registry credentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from control.credential.presets import FIELDS_OF_TYPE, Field
from control.session import Session
from registry_access.model.errors import AlreadyExists, InvalidInput
from registry_access.model.resources import CredentialType, Kind, RegistryCredential, Resource
from registry_access.model.secret_binding import destinations
from registry_access.model.workspace_secret import SecretProblem
from registry_access.state.workspace_secrets import SecretVersion, WorkspaceSecrets

Values = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A user's description of a new credential. `registry` is a normalized host."""

    name: str
    type: CredentialType
    registry: str
    display_name: str = ""
    repositories: Sequence[str] = ()
    login: str = ""
    realm_hosts: Sequence[str] = ()
    insecure: bool = False
    allow_private_addresses: bool = False


async def add_credential(session: Session, wanted: NewCredential, read: Callable[[], Values]) -> Resource:
    """Creates the credential and the first version of its secret. `read` gives the secret's values, by name.

    Raises AlreadyExists, InvalidInput, InvalidManifest, StateError; everything is validated before a secret is written.
    """
    name = wanted.name
    if session.index.credential(session.workspace, name) is not None:
        raise AlreadyExists(f"credential {name} already exists; run `akua credential rotate {name}` to give it a new secret")
    values = read()
    await session.ensure_workspace()
    spec = {
        "registry": wanted.registry,
        "type": str(wanted.type),
        "displayName": wanted.display_name,
        "repositories": list(wanted.repositories),
        "login": wanted.login,
        "secretName": name if values else "",
        "realmHosts": list(wanted.realm_hosts),
        "insecure": wanted.insecure,
        "allowPrivateAddresses": wanted.allow_private_addresses,
    }
    manifest = session.manifest(Kind.REGISTRY_CREDENTIAL, name, spec)
    credential = RegistryCredential.from_manifest(manifest)
    if values:
        secrets = WorkspaceSecrets(session.store)
        await secrets.add(session.workspace, name, values, type=wanted.type, registries=destinations(credential))
    return await session.store.create(manifest)


async def disable_credential(session: Session, name: str) -> Resource:
    """Refuses every pull that needs the credential and cuts pulls in progress. Raises NotFound, StateError."""
    return await session.store.patch(session.credential(name).key, {"spec": {"disabled": True}})


async def enable_credential(session: Session, name: str) -> Resource:
    """Uses the credential again. Raises NotFound, StateError."""
    return await session.store.patch(session.credential(name).key, {"spec": {"disabled": None}})


async def delete_credential(session: Session, name: str, *, keep_secret: bool = False) -> bool:
    """Deletes the credential. Returns whether its secret was deleted too: another user of the secret keeps it."""
    found = session.credential(name)
    await session.store.delete(found.key, uid=found.metadata.uid)
    shared = any(item.secret_name == found.secret_name for item in session.credentials() if item.metadata.name != name)
    if found.secret_name is None or shared or keep_secret or not session.index.secret(session.workspace, found.secret_name):
        return False
    await WorkspaceSecrets(session.store).delete(session.workspace, found.secret_name)
    return True


def values_to_ask(session: Session, name: str, username: str = "") -> tuple[Sequence[Field], Values]:
    """The fields that a new version of the credential's secret needs, and the values that stay the same.

    Raises NotFound, or InvalidInput if the credential has no secret.
    """
    found = session.credential(name)
    secret_of(session, name, remedy="add another credential that has a secret")
    kept = {} if isinstance(now := session.value_of(found), SecretProblem) else dict(now.values)
    if username:
        kept["username"] = username
    fields = FIELDS_OF_TYPE[found.type]
    plain = {field.name: kept.get(field.name, "") for field in fields if not field.secret}
    return [field for field in fields if field.secret or field.required or plain[field.name]], plain


async def add_version(session: Session, name: str, values: Values, *, current: bool, comment: str = "") -> SecretVersion:
    """Adds a version to the credential's secret, and uses it at once if `current`. Raises NotFound, InvalidInput, StateError."""
    found, secret = session.credential(name), secret_of(session, name)
    secrets = WorkspaceSecrets(session.store)
    return await secrets.add(
        session.workspace,
        secret,
        values,
        current=current,
        comment=comment,
        type=found.type,
        registries=destinations(found),
    )


def secret_of(session: Session, name: str, *, remedy: str = "this credential works without a secret") -> str:
    """The name of a credential's secret. Raises NotFound, or InvalidInput if it has none."""
    found = session.credential(name)
    if found.secret_name is None:
        raise InvalidInput("has no secret", field=f"credential {name}", remedy=remedy)
    return found.secret_name

"""RegistryCredential: how the proxy logs in to one upstream registry."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from sys import intern
from typing import ClassVar

from registry_access.model.errors import InvalidInput
from registry_access.model.names.registry_host import normalize_registry_host
from registry_access.model.names.repository_pattern import RepositoryPrefix, parse_repository_prefix
from registry_access.model.resources.declaration import (
    choice,
    flag,
    member,
    moment,
    name,
    parsed,
    parsed_list,
    read_members,
    several,
    text,
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

MAXIMUM_REPOSITORIES = 64
MAXIMUM_REALM_HOSTS = 16
MAXIMUM_DISPLAY_NAME = 100
_LOGIN = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)


class CredentialType(StrEnum):
    """What the secret holds. Anonymous needs none: the registry serves these repositories to anyone."""

    BASIC = "Basic"
    TOKEN = "Token"  # noqa: S105 - the type's name
    OAUTH = "OAuth"
    AWS = "AWS"
    ANONYMOUS = "Anonymous"


def _registry(text: str) -> str:
    return intern(normalize_registry_host(text))


def _login(text: str) -> str:
    if not _LOGIN.fullmatch(text):
        raise InvalidInput(
            f"{text!r} is not a login kind", remedy="write anonymous, basic, token, bearer, oauth, azure or aws, or leave it out"
        )
    return text


@lru_cache(maxsize=4096)
def _shared_prefix(text: str) -> RepositoryPrefix:
    return parse_repository_prefix(text)


@dataclass(frozen=True, slots=True)
class CredentialStatus(HasConditions):
    """`conditions`: Ready (can be used), Verified (a login was tried). `secret_version`: the version last used."""

    conditions: tuple[Condition, ...] = field(
        default=(), metadata=member("conditions", several(Condition, maximum=MAXIMUM_CONDITIONS))
    )
    secret_version: str = field(default="", metadata=member("secretVersion", text(interned=True)))
    last_used_time: datetime | None = field(default=None, metadata=member("lastUsedTime", moment()))

    @classmethod
    def read(cls, reader: FieldReader) -> CredentialStatus:
        return cls(**read_members(cls, reader))

    def to_manifest(self) -> dict[str, object]:
        return write_members(self)


@dataclass(frozen=True, slots=True)
class RegistryCredential(WorkspaceOwned):
    """`registry` is normalized. No `repositories`: every repository of the registry; else the longest pattern wins.

    `login` states the login kind where the registry's host does not tell it. `realm_hosts` are further hosts that may be sent
    this credential as token service. `insecure` allows http, `allow_private_addresses` allows private network addresses.
    `expires_at` is when its secret ends upstream, as its owner says: people are warned, and pulls go on.
    """

    kind: ClassVar[Kind] = Kind.REGISTRY_CREDENTIAL
    metadata: Metadata
    registry: str = field(metadata=member("registry", parsed(_registry, maximum=260)))
    type: CredentialType = field(metadata=member("type", choice(CredentialType)))
    display_name: str = field(default="", metadata=member("displayName", text(maximum=MAXIMUM_DISPLAY_NAME)))
    repositories: tuple[RepositoryPrefix, ...] = field(
        default=(), metadata=member("repositories", parsed_list(_shared_prefix, maximum=MAXIMUM_REPOSITORIES))
    )
    login: str | None = field(default=None, metadata=member("login", parsed(_login, maximum=32, optional=True)))
    secret_name: str | None = field(default=None, metadata=member("secretName", name()))
    disabled: bool = field(default=False, metadata=member("disabled", flag()))
    insecure: bool = field(default=False, metadata=member("insecure", flag()))
    realm_hosts: tuple[str, ...] = field(
        default=(), metadata=member("realmHosts", parsed_list(normalize_registry_host, maximum=MAXIMUM_REALM_HOSTS))
    )
    allow_private_addresses: bool = field(default=False, metadata=member("allowPrivateAddresses", flag()))
    expires_at: datetime | None = field(default=None, metadata=member("expiresAt", moment()))
    status: CredentialStatus = CredentialStatus()

    @classmethod
    def from_manifest(
        cls, manifest: object, *, source: str = "", lines: Callable[[Path], int] | None = None, strict: bool = True
    ) -> RegistryCredential:
        """Raises InvalidManifest."""
        reader, metadata = read_frame(manifest, Origin(source, lines, strict), cls.kind)
        spec = reader.child("spec")
        status = read_status(reader, CredentialStatus.read, CredentialStatus())
        credential = cls(metadata=metadata, **read_members(cls, spec), status=status)
        _check_secret(spec, credential)
        spec.refuse_unknown()
        reader.refuse_unknown()
        return credential

    def to_manifest(self) -> dict[str, object]:
        return manifest_of(self, spec=write_members(self), status=self.status.to_manifest())


def _check_secret(spec: FieldReader, credential: RegistryCredential) -> None:
    if credential.type is CredentialType.ANONYMOUS and credential.secret_name:
        raise spec.invalid("secretName", "an Anonymous credential has no secret", "remove it, or state another type")
    if credential.type not in (CredentialType.ANONYMOUS, CredentialType.AWS) and not credential.secret_name:
        raise spec.invalid(
            "secretName",
            f"a {credential.type} credential needs a secret",
            "name a Secret of this workspace (`akua credential add` makes one)",
        )

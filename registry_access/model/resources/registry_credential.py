"""RegistryCredential: how the proxy logs in to one upstream registry."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from sys import intern
from typing import ClassVar

from registry_access.model.errors import InvalidInput
from registry_access.model.names.registry_host import normalize_registry_host
from registry_access.model.names.repository_pattern import RepositoryPrefix, parse_repository_prefix
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


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """`conditions`: Ready (can be used), Verified (a login was tried). `secret_version`: the version last used."""

    conditions: tuple[Condition, ...] = ()
    secret_version: str = ""
    last_used_time: datetime | None = None

    @classmethod
    def read(cls, reader: FieldReader) -> CredentialStatus:
        return cls(
            conditions=tuple(Condition.read(item) for item in reader.children("conditions")),
            secret_version=intern(reader.text("secretVersion", default="")),
            last_used_time=reader.time("lastUsedTime"),
        )

    def to_manifest(self) -> dict[str, object]:
        manifest = {
            "conditions": [condition.to_manifest() for condition in self.conditions],
            "secretVersion": self.secret_version,
            "lastUsedTime": rfc3339(self.last_used_time),
        }
        return {name: value for name, value in manifest.items() if value}


@dataclass(frozen=True, slots=True)
class RegistryCredential(WorkspaceOwned):
    """`registry` is normalized. No `repositories`: every repository of the registry; else the longest pattern wins.

    `login` states the login kind where the registry's host does not tell it. `realm_hosts` are further hosts that may be sent
    this credential as token service. `insecure` allows http, `allow_private_addresses` allows private network addresses.
    """

    kind: ClassVar[Kind] = Kind.REGISTRY_CREDENTIAL
    metadata: Metadata
    registry: str
    type: CredentialType
    display_name: str = ""
    repositories: tuple[RepositoryPrefix, ...] = ()
    login: str | None = None
    secret_name: str | None = None
    disabled: bool = False
    insecure: bool = False
    realm_hosts: tuple[str, ...] = ()
    allow_private_addresses: bool = False
    status: CredentialStatus = CredentialStatus()

    @classmethod
    def from_manifest(
        cls, manifest: object, *, source: str = "", lines: Callable[[Path], int] | None = None, strict: bool = True
    ) -> RegistryCredential:
        """Raises InvalidManifest."""
        reader, metadata = read_frame(manifest, Origin(source, lines, strict), cls.kind)
        spec = reader.child("spec")
        credential = cls(
            metadata=metadata,
            registry=intern(spec.parsed("registry", normalize_registry_host, maximum=260)),
            type=CredentialType(spec.choice("type", [str(item) for item in CredentialType], default=None)),
            display_name=spec.text("displayName", default="", maximum=MAXIMUM_DISPLAY_NAME),
            repositories=spec.parsed_list("repositories", _shared_prefix, maximum_items=MAXIMUM_REPOSITORIES),
            login=spec.parsed("login", _login) if spec.has("login") else None,
            secret_name=spec.name("secretName", default="") or None,
            disabled=spec.flag("disabled"),
            insecure=spec.flag("insecure"),
            realm_hosts=spec.parsed_list("realmHosts", normalize_registry_host, maximum_items=MAXIMUM_REALM_HOSTS),
            allow_private_addresses=spec.flag("allowPrivateAddresses"),
            status=read_status(reader, CredentialStatus.read, CredentialStatus()),
        )
        _check_secret(spec, credential)
        spec.refuse_unknown()
        reader.refuse_unknown()
        return credential

    def to_manifest(self) -> dict[str, object]:
        spec: dict[str, object] = {
            "registry": self.registry,
            "displayName": self.display_name,
            "repositories": [str(prefix) for prefix in self.repositories],
            "type": str(self.type),
            "login": self.login,
            "secretName": self.secret_name,
            "disabled": self.disabled,
            "insecure": self.insecure,
            "realmHosts": list(self.realm_hosts),
            "allowPrivateAddresses": self.allow_private_addresses,
        }
        return manifest_of(self, spec={name: value for name, value in spec.items() if value}, status=self.status.to_manifest())


def _check_secret(spec: FieldReader, credential: RegistryCredential) -> None:
    if credential.type is CredentialType.ANONYMOUS and credential.secret_name:
        raise spec.invalid("secretName", "an Anonymous credential has no secret", "remove it, or state another type")
    if credential.type not in (CredentialType.ANONYMOUS, CredentialType.AWS) and not credential.secret_name:
        raise spec.invalid(
            "secretName",
            f"a {credential.type} credential needs a secret",
            "name a Secret of this workspace (`akua credential add` makes one)",
        )


def _login(text: str) -> str:
    if not _LOGIN.fullmatch(text):
        raise InvalidInput(f"{text!r} is not a login kind", remedy="write a lower-case word such as gitlab, or remove it")
    return text


@lru_cache(maxsize=4096)
def _shared_prefix(text: str) -> RepositoryPrefix:
    return parse_repository_prefix(text)

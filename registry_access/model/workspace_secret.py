"""How a credential's `secretName` resolves to a value.

`secretName: ghcr` names the workspace secret ``ghcr``: a Secret of the workspace. With the annotation
``registry.akua.dev/current-version: "3"`` its value is in the immutable version Secret ``ghcr-v3``; a plain Secret ``ghcr``
with data and no such annotation is used as it is, so that ``kubectl create secret generic ghcr`` works too.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from types import MappingProxyType

from registry_access.model.decision import Reason
from registry_access.model.resources.metadata import (
    CURRENT_VERSION_ANNOTATION,
    REGISTRIES_ANNOTATION,
    SECRET_LABEL,
    VERSION_LABEL,
    VERSION_STATE_ANNOTATION,
)
from registry_access.model.resources.registry_credential import CredentialType, RegistryCredential
from registry_access.model.resources.secret import Secret
from registry_access.model.secret_binding import bound_to, destinations, strangers

UNVERSIONED = "unversioned"
NO_SECRET = "none"  # noqa: S105 - a version, for display
# The names within a Secret, by type: those that must be there, and those that may.
REQUIRED_NAMES: Mapping[CredentialType, tuple[str, ...]] = {
    CredentialType.BASIC: ("username", "password"),
    CredentialType.TOKEN: ("token",),
    CredentialType.OAUTH: ("client_id", "client_secret", "token_url"),
    CredentialType.AWS: ("access_key_id", "secret_access_key"),
    CredentialType.ANONYMOUS: (),
}
OPTIONAL_NAMES: Mapping[CredentialType, tuple[str, ...]] = {
    CredentialType.BASIC: (),
    CredentialType.TOKEN: ("username",),
    CredentialType.OAUTH: ("scopes", "refresh_token"),
    CredentialType.AWS: ("region", "session_token"),
    CredentialType.ANONYMOUS: (),
}
# All of them, and those whose values are secret: a user's name or a URL may be read.
KNOWN_NAMES = frozenset(name for names in (*REQUIRED_NAMES.values(), *OPTIONAL_NAMES.values()) for name in names)
SECRET_NAMES = KNOWN_NAMES - {"username", "client_id", "token_url", "access_key_id", "scopes", "region"}
# A process-wide key: equal fingerprints mean equal values, and a fingerprint in a log gives nothing to guess against.
_FINGERPRINT_KEY = secrets.token_bytes(32)


class VersionState(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class ResolvedSecret:
    """A current value. `fingerprint` changes whenever the value does; it holds within one process."""

    version: str
    values: Mapping[str, str] = field(repr=False)
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class SecretProblem:
    """Why there is no value to log in with; `detail` names objects and the way out, never a value."""

    reason: Reason
    detail: str


def version_secret_name(secret_name: str, version: str | int) -> str:
    """The name of the Secret that holds one version: ``ghcr-v3``."""
    return f"{secret_name}-v{version}"


def base_of(holder: Secret) -> str:
    """The workspace secret that a Secret is a version of, "" when it is none. Its label alone does not make it one."""
    name, version = holder.metadata.labels.get(SECRET_LABEL, ""), holder.metadata.labels.get(VERSION_LABEL, "")
    return name if name and version and holder.metadata.name == version_secret_name(name, version) else ""


def state_of_version(holder: Secret) -> VersionState:
    """A version Secret's state; one that says nothing is enabled, one that says anything unknown is disabled."""
    stated = holder.metadata.annotations.get(VERSION_STATE_ANNOTATION, VersionState.ENABLED)
    return VersionState(stated) if stated in tuple(VersionState) else VersionState.DISABLED


def resolve_secret(credential: RegistryCredential, lookup: Callable[[str], Secret | None]) -> ResolvedSecret | SecretProblem:
    """The current value behind `credential`. `lookup` finds a Secret of the credential's workspace by name.

    A credential without a secret (Anonymous, or AWS with the pod's own identity) resolves to version "none", no values.
    """
    name = credential.secret_name
    if name is None:
        return ResolvedSecret(NO_SECRET, MappingProxyType({}), NO_SECRET)
    head = lookup(name)
    if head is None:
        return SecretProblem(
            Reason.SECRET_MISSING, f"workspace {credential.workspace} has no secret {name}; add one with `akua credential add`"
        )
    version = head.metadata.annotations.get(CURRENT_VERSION_ANNOTATION)
    if version is None:
        return _foreign(credential, head) or _value(credential, head, UNVERSIONED)
    holder = lookup(version_secret_name(name, version))
    if holder is None or holder.metadata.labels.get(SECRET_LABEL) != name or holder.metadata.labels.get(VERSION_LABEL) != version:
        return SecretProblem(
            Reason.SECRET_MISSING, f"secret {name} is pinned to version {version}, which does not exist; pin one that does"
        )
    state = state_of_version(holder)
    if state is not VersionState.ENABLED:
        return SecretProblem(
            Reason.SECRET_INVALID, f"version {version} of secret {name} is {state}; enable it, or pin another version"
        )
    return _foreign(credential, holder, head) or _value(credential, holder, version)


def _foreign(credential: RegistryCredential, *holders: Secret) -> SecretProblem | None:
    """Why the credential must not be given the value: it would send it to a host that the Secret is not for."""
    bound = bound_to(*holders)
    elsewhere = strangers(destinations(credential), bound) if bound is not None else []
    if bound is None or not elsewhere:
        return None
    return SecretProblem(
        Reason.SECRET_BOUND,
        f"secret {credential.secret_name} is for {', '.join(sorted(bound)) or 'no registry'}, and credential "
        f"{credential.metadata.name} would send it to {', '.join(elsewhere)}; give the credential a secret of its own, or have "
        f"somebody who may write Secret {holders[0].metadata.name} add that to its annotation {REGISTRIES_ANNOTATION}",
    )


def problem_of_values(type: CredentialType, data: Mapping[str, bytes]) -> str:
    """What keeps `data` from serving a credential of `type` ("lacks password"), or "" when nothing does."""
    missing = [name for name in REQUIRED_NAMES[type] if not data.get(name)]
    if missing == ["client_secret"] and data.get("refresh_token"):
        missing = []  # RFC 6749, 6: a public client refreshes without one
    if missing:
        return f"lacks {' and '.join(missing)}, which a {type} credential needs"
    for name in (*REQUIRED_NAMES[type], *OPTIONAL_NAMES[type]):
        try:
            data.get(name, b"").decode()
        except UnicodeDecodeError:
            return f"holds something other than UTF-8 text under {name}"
    return ""


def _value(credential: RegistryCredential, holder: Secret, version: str) -> ResolvedSecret | SecretProblem:
    problem = problem_of_values(credential.type, holder.data)
    if problem:
        return SecretProblem(Reason.SECRET_INVALID, f"secret {holder.metadata.name} {problem}; add a version that has it")
    names = (*REQUIRED_NAMES[credential.type], *OPTIONAL_NAMES[credential.type])
    # `echo secret | base64` leaves a line feed that is never part of what the registry gave.
    values = {name: holder.data[name].decode().rstrip("\r\n") for name in names if name in holder.data}
    return ResolvedSecret(version, MappingProxyType(values), _fingerprint(values))


def _fingerprint(values: Mapping[str, str]) -> str:
    hasher = blake2b(key=_FINGERPRINT_KEY, digest_size=8)
    for name, value in sorted(values.items()):
        for part in (name.encode(), value.encode()):
            hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.hexdigest()

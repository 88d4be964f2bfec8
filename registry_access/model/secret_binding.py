"""Which hosts a workspace secret may be sent to: the annotation ``registry.akua.dev/registries`` on its Secret.

Whoever may write a credential chooses where its secret goes, and need not have the right to read that Secret. So the Secret
itself says for which hosts it is: ``ghcr.io``, several with commas, ``http://registry.example:5000`` where it may be sent in
plain text. `akua credential add` writes it, and later versions inherit it. A Secret without the annotation is bound to nothing;
in a cluster the policy akua-named-secrets asks for the right to read it.
"""

from __future__ import annotations

from collections.abc import Collection

from registry_access.model.errors import InvalidInput
from registry_access.model.names.registry_host import normalize_registry_host
from registry_access.model.resources.metadata import REGISTRIES_ANNOTATION
from registry_access.model.resources.registry_credential import RegistryCredential
from registry_access.model.resources.secret import Secret

_PLAIN = "http://"


def destinations(credential: RegistryCredential) -> frozenset[str]:
    """Where the secret of `credential` may end up, as the annotation has it: its registry and the realm hosts that it states."""
    scheme = _PLAIN if credential.insecure else ""
    return frozenset(f"{scheme}{host}" for host in (credential.registry, *credential.realm_hosts))


def bound_to(*holders: Secret) -> frozenset[str] | None:
    """The hosts that the first of `holders` with the annotation is for; None when none has it."""
    for holder in holders:
        stated = holder.metadata.annotations.get(REGISTRIES_ANNOTATION)
        if stated is not None:
            return frozenset(normal for entry in stated.split(",") if (normal := _normalized(entry.strip())))
    return None


def strangers(wanted: Collection[str], bound: Collection[str]) -> list[str]:
    """Those of `wanted` (`destinations`) that a secret bound to `bound` is not for, sorted. Plain http allows https too."""
    return sorted(each for each in wanted if each not in bound and f"{_PLAIN}{each}" not in bound)


def annotation_value(hosts: Collection[str]) -> str:
    return ",".join(sorted(hosts))


def _normalized(entry: str) -> str:
    """ "" for what is no host: it allows nothing."""
    scheme = _PLAIN if entry.lower().startswith(_PLAIN) else ""
    try:
        return scheme + normalize_registry_host(entry[len(scheme) :])
    except InvalidInput:
        return ""

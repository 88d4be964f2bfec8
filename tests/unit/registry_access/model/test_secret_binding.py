"""Which hosts a secret may be sent to, whatever a credential says."""

from __future__ import annotations

from typing import Any

import pytest

from registry_access.model.decision import Reason
from registry_access.model.resources import RegistryCredential, Secret
from registry_access.model.secret_binding import annotation_value, bound_to, destinations
from registry_access.model.workspace_secret import ResolvedSecret, SecretProblem, resolve_secret
from tests.support import builders

GROUP = "registry.akua.dev"


def credential(**spec: Any) -> RegistryCredential:
    return builders.credential("c", **{"secretName": "s"} | spec)


def secret(name: str = "s", version: str = "", **annotations: str) -> Secret:
    stated = {f"{GROUP}/{key.replace('_', '-')}": value for key, value in annotations.items()}
    labels = {f"{GROUP}/secret": "s", f"{GROUP}/version": version} if version else {}
    return builders.secret(name, annotations=stated, labels=labels)


def resolve(given: RegistryCredential, *secrets: Secret) -> ResolvedSecret | SecretProblem:
    return resolve_secret(given, {item.metadata.name: item for item in secrets}.get)


@pytest.mark.parametrize(
    ("registries", "spec", "elsewhere"),
    [
        ("ghcr.io", {}, ""),
        (" GHCR.io , other.example", {}, ""),
        ("index.docker.io", {"registry": "docker.io"}, ""),
        ("ghcr.io", {"registry": "evil.example"}, "evil.example"),
        ("ghcr.io", {"registry": "ghcr.io:8443"}, "ghcr.io:8443"),
        ("ghcr.io", {"registry": "ghcr.io.evil.example"}, "ghcr.io.evil.example"),
        # The token service is sent the password too.
        ("ghcr.io", {"realmHosts": ["evil.example"]}, "evil.example"),
        ("ghcr.io,auth.example", {"realmHosts": ["auth.example"]}, ""),
        # In plain text everybody on the way has it.
        ("ghcr.io", {"insecure": True}, "http://ghcr.io"),
        ("http://ghcr.io", {"insecure": True}, ""),
        ("http://ghcr.io", {}, ""),
        ("http://ghcr.io,auth.example", {"insecure": True, "realmHosts": ["auth.example"]}, "http://auth.example"),
        ("", {}, "ghcr.io"),
        ("https://ghcr.io/path, *", {}, "ghcr.io"),
    ],
)
def test_a_secret_goes_to_the_registries_that_it_names(registries: str, spec: dict[str, Any], elsewhere: str) -> None:
    found = resolve(credential(**spec), secret(registries=registries))
    if not elsewhere:
        assert isinstance(found, ResolvedSecret)
        return
    assert isinstance(found, SecretProblem)
    assert found.reason is Reason.SECRET_BOUND
    assert f"credential c would send it to {elsewhere};" in found.detail
    assert "annotation registry.akua.dev/registries" in found.detail


def test_a_secret_that_names_none_is_bound_to_nothing() -> None:
    assert isinstance(resolve(credential(registry="any.example"), secret()), ResolvedSecret)


@pytest.mark.parametrize(
    ("head", "version", "allowed"), [("", "evil.example", False), ("evil.example", "", False), ("evil.example", "ghcr.io", True)]
)
def test_a_version_says_it_for_itself_else_the_secret_does(head: str, version: str, *, allowed: bool) -> None:
    """The version's own word counts: it is where the value is."""
    named = {"registries": head} if head else {}
    held = {"registries": version} if version else {}
    found = resolve(credential(), secret(current_version="1", **named), secret("s-v1", "1", **held))
    assert isinstance(found, ResolvedSecret) is allowed


def test_what_is_written_reads_back() -> None:
    given = credential(insecure=True, realmHosts=["auth.example"])
    written = annotation_value(destinations(given))
    assert written == "http://auth.example,http://ghcr.io"
    assert bound_to(secret(registries=written)) == destinations(given)

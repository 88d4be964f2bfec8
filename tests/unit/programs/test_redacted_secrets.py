"""Whose values the log is searched for: those behind credentials, as long as both are there."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from programs.redacted_secrets import ordinary_words, redact_secrets
from registry_access.model.decision import Reason
from registry_access.model.resources import Key, Kind
from registry_access.model.resources.resource import resource_from_manifest
from registry_access.runtime.logs.redaction import REDACTED, Redactor
from registry_access.state.index import ResourceIndex

VALUE = "canary-pässword\n"


def put(index: ResourceIndex, kind: str, name: str, namespace: str = "acme", **parts: Any) -> None:
    version = "v1" if kind == "Secret" else "registry.akua.dev/v1alpha1"
    metadata = {"name": name, "namespace": namespace, **parts.pop("metadata", {})}
    made = resource_from_manifest({"apiVersion": version, "kind": kind, "metadata": metadata, **parts})
    assert made is not None
    index.put(made)


def credential(index: ResourceIndex, named: str = "ghcr") -> None:
    put(index, "RegistryCredential", "ghcr", spec={"registry": "ghcr.io", "type": "Basic", "secretName": named})


def secret(index: ResourceIndex, name: str = "ghcr", namespace: str = "acme", **metadata: Any) -> None:
    values = {"username": "robot-account", "password": VALUE, "note": "unrelated-value"}
    put(index, "Secret", name, namespace, metadata=metadata, stringData=values)


@pytest.fixture
def index() -> ResourceIndex:
    return ResourceIndex()


@pytest.fixture
def redactor(index: ResourceIndex) -> Redactor:
    made = Redactor(ordinary_words())
    redact_secrets(index, made)
    return made


LINE = f"robot-account {VALUE.strip()} unrelated-value"


def test_only_what_a_credential_names_and_only_what_is_secret_of_it(index: ResourceIndex, redactor: Redactor) -> None:
    secret(index)
    assert redactor(LINE) == LINE, "nothing names it"
    credential(index)
    assert redactor(LINE) == f"robot-account {REDACTED} unrelated-value"
    basic = base64.b64encode(f"robot-account:{VALUE.strip()}".encode()).decode()
    assert basic not in redactor(f"sent {basic}")
    credential(index, "other")
    assert redactor(LINE) == LINE, "nothing names it any more"


def test_versions_of_it_too_but_no_label_alone(index: ResourceIndex, redactor: Redactor) -> None:
    credential(index)
    labels = {"registry.akua.dev/secret": "ghcr", "registry.akua.dev/version": "3"}
    secret(index, "somebody-elses", labels=labels)
    assert redactor(LINE) == LINE
    secret(index, "ghcr-v3", labels=labels)
    assert VALUE.strip() not in redactor(LINE)
    index.remove(Key(Kind.SECRET, "acme", "ghcr-v3"))
    assert redactor(LINE) == LINE, "forgotten with it"


def test_a_credential_that_goes_takes_its_values_along(index: ResourceIndex, redactor: Redactor) -> None:
    credential(index)
    secret(index)
    index.remove(Key(Kind.REGISTRY_CREDENTIAL, "acme", "ghcr"))
    assert redactor(LINE) == LINE


def test_our_own_keys_always(index: ResourceIndex, redactor: Redactor) -> None:
    put(index, "Secret", "akua-access-token-keys", "akua-system", stringData={"keys": "private-key-material"})
    assert redactor("a private-key-material") == f"a {REDACTED}"


@pytest.mark.parametrize("word", ["refused", "unavailable", *map(str, Reason)])
def test_no_member_can_blank_a_word_of_ours(index: ResourceIndex, redactor: Redactor, word: str) -> None:
    credential(index)
    put(index, "Secret", "ghcr", stringData={"username": "robot", "password": word})
    assert redactor(f"pull of shop: {word}") == f"pull of shop: {word}"

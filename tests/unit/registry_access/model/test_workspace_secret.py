"""What a credential's secret resolves to, for every type, and what is said when it resolves to nothing."""

from __future__ import annotations

import pytest

from registry_access.model.decision import Reason
from registry_access.model.resources import RegistryCredential, Secret
from registry_access.model.workspace_secret import NO_SECRET, UNVERSIONED, ResolvedSecret, SecretProblem, resolve_secret
from tests.support import builders

KEYS = "registry.akua.dev"


def credential(type: str, holder: str | None = "s") -> RegistryCredential:
    return builders.credential("c", type=type, secretName=holder)


def secret(name: str, values: dict[str, str], *, version: str = "", state: str = "", current: str = "") -> Secret:
    annotations = {f"{KEYS}/current-version": current, f"{KEYS}/version-state": state}
    labels = {f"{KEYS}/secret": "s", f"{KEYS}/version": version} if version else {}
    return builders.secret(name, values, annotations={key: value for key, value in annotations.items() if value}, labels=labels)


def resolve(given: RegistryCredential, *secrets: Secret) -> ResolvedSecret | SecretProblem:
    return resolve_secret(given, {item.metadata.name: item for item in secrets}.get)


@pytest.mark.parametrize(
    ("type", "values", "missing"),
    [
        ("Basic", {"username": "u", "password": "p"}, ""),
        ("Basic", {"username": "u"}, "password"),
        ("Basic", {}, "username and password"),
        ("Token", {"token": "t"}, ""),
        ("Token", {"token": "t", "username": "u"}, ""),
        ("OAuth", {"client_id": "c", "client_secret": "s", "token_url": "https://x/t"}, ""),
        ("OAuth", {"client_id": "c", "refresh_token": "r", "token_url": "https://x/t"}, ""),
        ("OAuth", {"client_id": "c", "token_url": "https://x/t"}, "client_secret"),
        ("AWS", {"access_key_id": "a", "secret_access_key": "s"}, ""),
        ("AWS", {"access_key_id": "a"}, "secret_access_key"),
    ],
)
def test_the_values_that_each_type_needs(type: str, values: dict[str, str], missing: str) -> None:
    found = resolve(credential(type), secret("s", {**values, "unrelated": "x"}))
    if missing:
        assert isinstance(found, SecretProblem)
        assert found.reason is Reason.SECRET_INVALID
        assert f"lacks {missing}" in found.detail
    else:
        assert isinstance(found, ResolvedSecret)
        assert (dict(found.values), found.version) == (values, UNVERSIONED)


@pytest.mark.parametrize("type", ["AWS", "Anonymous"])
def test_some_types_need_no_secret(type: str) -> None:
    found = resolve(credential(type, None))
    assert isinstance(found, ResolvedSecret)
    assert (found.version, dict(found.values)) == (NO_SECRET, {})


def test_a_pinned_version_is_used_while_it_is_enabled() -> None:
    head = secret("s", {}, current="3")
    values = {"username": "u", "password": "p3"}
    found = resolve(credential("Basic"), head, secret("s-v3", values, version="3"))
    assert isinstance(found, ResolvedSecret)
    assert (found.version, found.values["password"]) == ("3", "p3")
    for state in ("disabled", "destroyed", "nonsense"):
        problem = resolve(credential("Basic"), head, secret("s-v3", values, version="3", state=state))
        assert isinstance(problem, SecretProblem)
        assert problem.reason is Reason.SECRET_INVALID
        assert "enable it, or pin another" in problem.detail


def test_a_secret_that_only_looks_like_a_version_is_not_one() -> None:
    values = {"username": "u", "password": "p"}
    for holder in (secret("s-v3", values), secret("s-v3", values, version="4"), None):
        problem = resolve(credential("Basic"), secret("s", {}, current="3"), *([holder] if holder else []))
        assert isinstance(problem, SecretProblem)
        assert problem.reason is Reason.SECRET_MISSING
    problem = resolve(credential("Basic"))
    assert isinstance(problem, SecretProblem)
    assert "workspace acme has no secret s" in problem.detail


def test_values_are_cleaned_hidden_and_told_apart() -> None:
    one = resolve(credential("Basic"), secret("s", {"username": "u", "password": "canary\n"}))
    two = resolve(credential("Basic"), secret("s", {"username": "u", "password": "canary2"}))
    assert isinstance(one, ResolvedSecret)
    assert isinstance(two, ResolvedSecret)
    assert one.values["password"] == "canary"
    assert "canary" not in repr(one)
    assert one.fingerprint != two.fingerprint


def test_a_value_that_is_not_text_is_refused() -> None:
    binary = Secret(secret("s", {}).metadata, data={"username": b"u", "password": b"\xff\xfe"})
    problem = resolve(credential("Basic"), binary)
    assert isinstance(problem, SecretProblem)
    assert "UTF-8" in problem.detail

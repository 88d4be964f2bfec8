"""Credentials by command: presets ask for what each registry gives, and a secret goes in and never comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from control.credential.presets import PRESETS
from registry_access.model.resources import CredentialType
from registry_access.model.workspace_secret import OPTIONAL_NAMES, REQUIRED_NAMES
from tests.unit.cli.conftest import Akua

CANARY = "canary-7c1f0e"


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_presets_ask_for_what_their_type_needs(preset: object) -> None:
    assert preset in PRESETS.values()
    for item in PRESETS.values():
        names = {field.name for field in item.fields}
        assert names <= {*REQUIRED_NAMES[item.type], *OPTIONAL_NAMES[item.type]}
        if names:
            assert set(REQUIRED_NAMES[item.type]) <= names
        assert item.registry or item.example


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_added(akua: Akua, preset: str) -> None:
    chosen = PRESETS[preset]
    options = {"username": "-u", "access_key_id": "--access-key-id", "client_id": "--client-id", "token_url": "--token-url"}
    given = [
        word
        for field in chosen.fields
        if not field.secret and not field.value and field.required
        for word in (options[field.name], "https://login.example.com/token")
    ]
    registry = [] if chosen.registry else ["--registry", chosen.example]
    ran = akua("credential", "add", preset, *registry, *given, "-o", "json", stdin=CANARY + "\n")
    assert ran.code == 0, ran.err
    assert ran.document["spec"]["registry"] == (chosen.registry or chosen.example)
    listed = akua("credential", "list", "-o", "json").document[0]
    assert listed["problem"] == ""
    assert CANARY not in ran.out + ran.err


def test_secret_goes_in_and_never_comes_out(akua: Akua, tmp_path: Path) -> None:
    akua("credential", "add", "ghcr", "-u", "octocat", stdin=CANARY + "\n")
    holder = tmp_path / "state/default/secret-ghcr-v1.yaml"
    assert holder.stat().st_mode & 0o777 == 0o600
    said = "".join(
        ran.out + ran.err
        for ran in (
            akua("credential", "list"),
            akua("credential", "list", "-o", "json"),
            akua("credential", "show", "ghcr"),
            akua("credential", "show", "ghcr", "-o", "json"),
            akua("credential", "versions", "ghcr", "-o", "json"),
            akua("doctor"),
        )
    )
    assert CANARY not in said
    assert "octocat" not in said


def test_secrets_have_versions(akua: Akua, tmp_path: Path) -> None:
    akua("credential", "add", "ghcr", "-u", "octocat", stdin="one\n")
    assert (
        akua(
            "credential",
            "rotate",
            "ghcr",
            "--comment",
            "monthly",
            stdin="two\n",
        ).code
        == 0
    )
    versions = akua("credential", "versions", "ghcr", "-o", "json").document
    assert [(item["version"], item["current"], item["comment"]) for item in versions] == [(2, True, "monthly"), (1, False, "")]
    held = YAML(typ="safe", pure=True).load(tmp_path / "state/default/secret-ghcr-v2.yaml")["data"]
    assert set(held) == {"username", "password"}
    assert (
        akua(
            "credential",
            "rotate",
            "ghcr",
            "--stage",
            stdin="three\n",
        ).code
        == 0
    )
    assert "current" in akua("credential", "versions", "ghcr").out
    assert akua("credential", "pin", "ghcr", "1", "-o", "json").document["current"] is True
    assert akua("credential", "destroy", "ghcr", "1", "-y").code == 1
    assert akua("credential", "destroy", "ghcr", "2", "-y", "-o", "json").document["state"] == "destroyed"


def test_json_on_standard_input_gives_several_values(akua: Akua) -> None:
    ran = akua("credential", "add", "basic", "--registry", "r.example.com", stdin='{"username": "u", "password": "p"}')
    assert ran.code == 0
    # A key file is one secret, although it is JSON.
    ran = akua("credential", "add", "gar", "--registry", "europe-west1-docker.pkg.dev", stdin='{"type": "service_account"}')
    assert ran.code == 0


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("ghcr",), "", "--username"),
        (("ghcr", "-u", "octocat"), "", "pipe the secret to standard input"),
        (("gar",), "key", "--registry"),
        (("nonsense",), "", "dockerhub"),
        (("ghcr", "-u", "octocat", "--token-url", "https://x.example"), "s", "--token-url"),
        (("basic", "--registry", "no/host", "-u", "u"), "s", "host"),
        (("ghcr", "-u", "octocat", "-r", "UPPER"), "s", "repositories"),
    ],
)
def test_what_is_missing_or_wrong_is_named(akua: Akua, tmp_path: Path, arguments: tuple[str, ...], stdin: str, said: str) -> None:
    ran = akua("credential", "add", *arguments, stdin=stdin)
    assert ran.code == 2
    assert said in ran.err
    assert not list((tmp_path / "state").rglob("secret-*.yaml"))


def test_a_second_of_the_name_is_refused_before_its_secret_is_written(akua: Akua) -> None:
    akua("credential", "add", "ghcr", "-u", "octocat", stdin="one\n")
    ran = akua("credential", "add", "ghcr", "-u", "octocat", stdin="two\n")
    assert (ran.code, "rotate" in ran.err) == (1, True)
    assert len(akua("credential", "versions", "ghcr", "-o", "json").document) == 1


def test_disable_enable_delete(akua: Akua, tmp_path: Path) -> None:
    akua("credential", "add", "ghcr", "-u", "octocat", stdin="one\n")
    assert akua("credential", "disable", "ghcr", "-o", "json").document["spec"]["disabled"] is True
    assert "disabled" in akua("credential", "list").out
    assert "disabled" not in akua("credential", "enable", "ghcr", "-o", "json").document["spec"]
    assert akua("credential", "delete", "ghcr", "-o", "json").document == {"deleted": "ghcr", "secret_deleted": True}
    assert not list((tmp_path / "state").rglob("secret-*.yaml"))


def test_testing_says_what_is_wrong(akua: Akua) -> None:
    akua("credential", "add", "basic", "--registry", "127.0.0.1:1", "-u", "u", "--insecure", stdin="p\n")
    ran = akua("credential", "test", "basic", "-o", "json")
    assert (ran.code, ran.document["ok"], ran.document["outcome"]) == (1, False, "host-unreachable")
    assert "host-unreachable" in akua("credential", "test", "basic").out
    assert akua("credential", "test", "basic", "ghcr.io/acme/app").code == 2


def test_anonymous_needs_no_secret(akua: Akua) -> None:
    ran = akua("credential", "add", "ecr-public", "-o", "json")
    assert ran.document["spec"] == {"registry": "public.ecr.aws", "type": str(CredentialType.ANONYMOUS)}
    assert akua("credential", "rotate", "ecr-public", stdin="x").code == 2


def test_presets_are_listed(akua: Akua) -> None:
    assert {item["name"] for item in akua("credential", "presets", "-o", "json").document} == set(PRESETS)
    assert "read:packages" in akua("credential", "presets").out


def test_an_image_without_its_registry_is_answered_with_the_name_to_write(akua: Akua) -> None:
    akua("credential", "add", "basic", "--name", "own", "--registry", "registry.example.com", "-u", "robot", stdin=CANARY)
    ran = akua("credential", "test", "own", "acme/app:1")
    assert ran.code == 2
    assert "docker.io/acme/app:1 is not in registry.example.com; write registry.example.com/acme/app:1" in ran.err

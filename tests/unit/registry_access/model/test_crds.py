"""The CRDs and the model say the same: fields, limits, choices, and a description on every field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry_access.model.errors import InvalidManifest
from registry_access.model.label_selector import Operator
from registry_access.model.resources import Install, Kind, Product, PullGrant, RegistryCredential, install
from registry_access.model.resources.declaration import schemas_of
from registry_access.model.resources.install import InstallStatus
from registry_access.model.resources.metadata import API_VERSION, GROUP
from registry_access.model.resources.registry_credential import CredentialStatus
from tests.unit.registry_access.model.test_resources import SPECS, STATUS, manifest, read

FOLDER = Path(__file__).parents[4] / "manifests" / "base" / "crds"
KINDS = sorted(kind for kind in Kind if kind.api_version == API_VERSION)


def definition(kind: str) -> dict[str, Any]:
    documents = [yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")]
    found: dict[str, Any] = next(item for item in documents if item.get("spec", {}).get("names", {}).get("kind") == kind)
    return found


def schema(kind: str) -> dict[str, Any]:
    (version,) = definition(kind)["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")


def fields(value: Any, path: str = "") -> Iterator[str]:
    """The paths of every field in a manifest, written as `nodes` writes them."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield f"{path}.{name}"
            if not path.endswith("matchLabels"):
                yield from fields(member, f"{path}.{name}")
    elif isinstance(value, list):
        for member in value:
            yield from fields(member, f"{path}[]")


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_the_schema_is_read_by_the_model_and_the_other_way_round(kind: str) -> None:
    described = {path for path, _ in nodes(schema(kind)) if path.startswith((".spec", ".status")) and not path.endswith("[]")}
    used = {path for path in fields(manifest(kind)) if path.startswith((".spec", ".status")) and "matchLabels." not in path}
    # One manifest does not use every corner of a selector; the model reads all selectors alike.
    corner = re.compile(r"elector(\.match(Labels|Expressions).*)?$")
    assert {path for path in described - used if not corner.search(path)} == set()
    assert used - described == set()


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_teaches(kind: str) -> None:
    silent = [
        path for path, node in nodes(schema(kind)) if not node.get("description") and path != ".metadata" and path[-2:] != "[]"
    ]
    assert silent == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_definition_is_what_the_adapter_asks_for(kind: str) -> None:
    spec = definition(kind)["spec"]
    (version,) = spec["versions"]
    assert (spec["group"], f"{spec['group']}/{version['name']}", spec["scope"]) == (GROUP, API_VERSION, "Namespaced")
    assert spec["names"]["categories"] == ["akua"]
    assert ("status" in version.get("subresources", {})) == (kind in STATUS)
    assert len(version.get("selectableFields", ())) <= 8
    for rule in [rule for _, node in nodes(schema(kind)) for rule in node.get("x-kubernetes-validations", ())]:
        assert rule["message"], rule


@pytest.mark.parametrize("kind", KINDS)
def test_limits_are_stated_wherever_something_can_be_long(kind: str) -> None:
    for path, node in nodes(schema(kind)["properties"]["spec"]):
        if node["type"] == "array":
            assert node.get("maxItems"), path
        if node["type"] == "string" and "enum" not in node and node.get("format") != "date-time":
            assert node.get("maxLength"), path
        if "additionalProperties" in node:
            assert node.get("maxProperties"), path


DECLARED = {
    "RegistryCredential": ((".spec", RegistryCredential), (".status", CredentialStatus)),
    "Product": ((".spec", Product),),
    "Install": ((".spec", Install), (".status", InstallStatus)),
    "PullGrant": ((".spec", PullGrant),),
}


def said(path: str, schema: Mapping[str, object]) -> Iterator[tuple[str, str, object]]:
    """Path, keyword and value of everything that a declaration asks of the CRD."""
    for keyword, value in schema.items():
        if keyword == "below":
            assert isinstance(value, Mapping)
            for name, inner in value.items():
                yield from said(f"{path}.{name}", inner)
        else:
            yield path, keyword, value


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_says_what_the_declarations_say(kind: str) -> None:
    there = dict(nodes(schema(kind)))
    declared = {f"{root}.{name}": wanted for root, cls in DECLARED[str(kind)] for name, wanted in schemas_of(cls)}
    differences = [
        (path, keyword, value, there.get(path, {}).get(keyword))
        for path, wanted in declared.items()
        for path, keyword, value in said(path, wanted)
        if there.get(path, {}).get(keyword) != value
    ]
    assert differences == []
    assert {path for path in there if path.count(".") == 2 and "[]" not in path} - {".metadata"} == declared.keys()


def test_limits_that_no_declaration_has_are_the_models() -> None:
    there = dict(nodes(schema(Kind.INSTALL)))
    for name in ("observedSyncRequest", "observedWorkspaceSyncRequest"):
        assert there[f".status.{name}"]["maxLength"] == install.MAXIMUM_REQUEST
    grant = dict(nodes(schema(Kind.PULL_GRANT)))
    assert grant[".spec.podSelector.matchExpressions[].operator"]["enum"] == [str(item) for item in Operator]


def pattern_of(node: dict[str, Any]) -> str:
    """As a schema's pattern, or as a rule, whose message people can read."""
    if "pattern" in node:
        return str(node["pattern"])
    (rule,) = node["x-kubernetes-validations"]
    found = re.fullmatch(r"self\.matches\(r'(.*)'\)", rule["rule"])
    assert found, rule
    return found[1]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Kind.PULL_GRANT])
def test_what_people_write_is_refused_with_a_sentence(kind: str) -> None:
    """The API server prints a pattern whole, 300 characters of it; of a rule it prints the message."""
    for path, node in nodes(schema(kind)["properties"]["spec"]):
        assert "pattern" not in node, path
        for rule in node.get("x-kubernetes-validations", ()):
            assert len(rule["message"]) <= 130, path


@pytest.mark.parametrize(
    ("kind", "field", "texts"),
    [
        (
            "RegistryCredential",
            "registry",
            ["ghcr.io", "GHCR.io", "localhost:5000", "[::1]:5000", "https://ghcr.io", "ghcr.io/acme", "a b", "-a.io", "x_y.io"],
        ),
        (
            "RegistryCredential",
            "repositories",
            ["acme/app", "acme/*", "*", "ACME", "acme/", "/acme", "acme/**", "a..b", "a__b/c"],
        ),
        (
            "Product",
            "repositories",
            [
                "ghcr.io/acme/app",
                "ghcr.io/acme/*",
                "ghcr.io/*",
                "localhost:5000/a",
                "localhost/a",
                "registry:5000/a",
                "Registry.Example.COM/a",
                "acme/app",
                "ghcr.io",
                "ghcr.io/",
                "ghcr.io/ACME",
                "https://ghcr.io/a",
                "ghcr.io/a:1",
                "ghcr.io/a@sha256:0",
            ],
        ),
        ("PullGrant", "host", ["oci.akua.dev", "oci.akua.dev:8443", "oci.akua.dev/x", "http://oci.akua.dev"]),
        ("Install", "product", ["storefront", "Store", "a.b", "a_b", "-a", "a."]),
    ],
)
def test_patterns_of_the_schema_take_what_the_model_takes(kind: str, field: str, texts: list[str]) -> None:
    node = schema(kind)["properties"]["spec"]["properties"][field]
    many = node["type"] == "array"
    pattern = re.compile(pattern_of(node["items"] if many else node))
    for text in texts:
        try:
            read(manifest(kind, **{field: [text] if many else text}))
            usable = True
        except InvalidManifest:
            usable = False
        assert bool(pattern.search(text)) is usable, text


def test_the_samples_of_these_tests_have_every_kind() -> None:
    assert sorted(SPECS) == [str(kind) for kind in KINDS]
    assert deepcopy(STATUS).keys() <= SPECS.keys()

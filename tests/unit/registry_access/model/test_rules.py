"""Scopes, repository patterns, entitlements, label selectors, decisions, errors."""

from __future__ import annotations

import pytest

from proxy.protocol.scope import Scope, parse_scope, parse_scopes
from registry_access.model.decision import Decision, Gate, GateResult, Reason, new_decision_id, passed
from registry_access.model.entitlement import entitlement_of
from registry_access.model.errors import InvalidInput, InvalidManifest, InvalidRepositoryPattern, InvalidScope, InvalidSettings
from registry_access.model.label_selector import LabelSelector, Operator, Requirement
from registry_access.model.names.repository_pattern import parse_repository_pattern, parse_repository_prefix


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("repository:ghcr.io/a/b:pull", Scope("repository", "ghcr.io/a/b", frozenset({"pull"}))),
        ("repository:a:pull,push", Scope("repository", "a", frozenset({"pull", "push"}))),
        ("repository(plugin):a:pull", Scope("repository", "a", frozenset({"pull"}))),
        ("repository:host:5000/a:pull", Scope("repository", "host:5000/a", frozenset({"pull"}))),
        ("registry:catalog:*", Scope("registry", "catalog", frozenset({"*"}))),
        ("repository:a:", Scope("repository", "a", frozenset())),
    ],
)
def test_scopes(text: str, expected: Scope) -> None:
    assert parse_scope(text) == expected
    assert parse_scope(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "repository", "repository:a", ":a:pull", "repository::pull", "Repo:a:pull", "repository:a:PULL", "a:b:" + "c" * 2000],
)
def test_what_is_no_scope(text: str) -> None:
    with pytest.raises(InvalidScope):
        parse_scope(text)


def test_scopes_are_joined_repeated_and_forgiven() -> None:
    scopes = parse_scopes(["repository:ghcr.io/a/b:pull nonsense", "repository:c:pull", ""])
    assert [scope.name for scope in scopes] == ["ghcr.io/a/b", "c"]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("repository:docker.io/redis:pull", ("docker.io", "library/redis")),
        ("repository:_x/redis:pull", None),
        ("repository:UPPER/redis:pull", None),
        ("repository:a__5/redis:pull", None),
        ("registry:catalog:*", None),
    ],
)
def test_the_repository_of_a_scope(scope: str, expected: tuple[str, str] | None) -> None:
    assert parse_scope(scope).repository() == expected


@pytest.mark.parametrize(
    ("pattern", "registry", "repository", "covered"),
    [
        ("ghcr.io/acme/storefront", "ghcr.io", "acme/storefront", True),
        ("ghcr.io/acme/storefront", "ghcr.io", "acme/storefront/sub", False),
        ("ghcr.io/acme/storefront", "ghcr.io", "acme/storefront2", False),
        ("ghcr.io/acme/*", "ghcr.io", "acme/a/b", True),
        ("ghcr.io/acme/*", "ghcr.io", "acme", False),
        ("ghcr.io/acme/*", "ghcr.io", "acme2/a", False),
        ("ghcr.io/acme/*", "ghcr.io.evil.example", "acme/a", False),
        ("ghcr.io/*", "ghcr.io", "anything/at/all", True),
        ("docker.io/redis", "docker.io", "library/redis", True),
        ("index.docker.io/redis", "docker.io", "library/redis", True),
        ("localhost:5000/a", "localhost:5000", "a", True),
    ],
)
def test_patterns(pattern: str, registry: str, repository: str, covered: bool) -> None:
    parsed = parse_repository_pattern(pattern)
    assert parsed.covers(registry, repository) is covered
    assert parse_repository_pattern(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "redis",
        "acme/app",
        "ghcr.io",
        "ghcr.io/",
        "ghcr.io/Acme",
        "ghcr.io/a*",
        "ghcr.io/*/a",
        "*",
        "*/a",
        "https://ghcr.io/a",
    ],
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(InvalidRepositoryPattern, match="write"):
        parse_repository_pattern(text)


def test_the_longest_prefix_is_the_most_specific() -> None:
    patterns = [parse_repository_prefix(text) for text in ("*", "acme/*", "acme/a", "acme/a/*")]
    assert [str(p) for p in sorted(patterns, key=lambda p: p.specificity)] == ["*", "acme/*", "acme/a/*", "acme/a"]


def test_entitlements_are_the_union_without_repeats() -> None:
    own, bought = parse_repository_pattern("ghcr.io/a"), parse_repository_pattern("ghcr.io/b/*")
    entitlement = entitlement_of([own, own], [bought, own])
    assert entitlement.patterns == (own, bought)
    assert entitlement.covers("ghcr.io", "b/c") == bought
    assert entitlement.covers("ghcr.io", "c") is None


@pytest.mark.parametrize(
    ("requirement", "labels", "matches"),
    [
        (Requirement("tier", Operator.IN, ("web",)), {"tier": "web"}, True),
        (Requirement("tier", Operator.IN, ("web",)), {}, False),
        (Requirement("tier", Operator.NOT_IN, ("web",)), {}, True),
        (Requirement("tier", Operator.NOT_IN, ("web",)), {"tier": "web"}, False),
        (Requirement("tier", Operator.EXISTS), {"tier": ""}, True),
        (Requirement("tier", Operator.DOES_NOT_EXIST), {"tier": ""}, False),
    ],
)
def test_label_expressions(requirement: Requirement, labels: dict[str, str], matches: bool) -> None:
    assert LabelSelector(match_expressions=(requirement,)).matches(labels) is matches


def test_label_selectors() -> None:
    web = LabelSelector((("app", "web"),), (Requirement("tier", Operator.IN, ("a",)),))
    assert LabelSelector().selects_everything
    assert LabelSelector().matches({"any": "thing"})
    assert not web.matches({"app": "db", "tier": "a"})
    assert web.to_manifest() == {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a"]}],
    }
    assert LabelSelector(match_expressions=(Requirement("a", Operator.EXISTS),)).to_manifest() == {
        "matchExpressions": [{"key": "a", "operator": "Exists"}]
    }


def test_selectors_that_can_never_meet() -> None:
    web, database = LabelSelector((("app", "web"),)), LabelSelector((("app", "db"),))
    not_web = LabelSelector(match_expressions=(Requirement("app", Operator.NOT_IN, ("web",)),))
    assert not web.may_overlap(database)
    assert not web.may_overlap(not_web)
    assert not not_web.may_overlap(web)
    assert web.may_overlap(LabelSelector())
    assert web.may_overlap(LabelSelector((("tier", "x"),)))


def test_a_decision_stops_at_its_refusal() -> None:
    decision = Decision(new_decision_id(), (passed(Gate.PATH),))
    assert decision.allowed
    refused = decision.extended(GateResult(Gate.TOKEN, Reason.TOKEN_EXPIRED, "it expired"))
    assert not refused.allowed
    assert refused.id == decision.id
    assert refused.refusal is not None
    assert refused.refusal.gate is Gate.TOKEN


def test_errors_name_the_field_and_the_way_out() -> None:
    one = InvalidInput("is missing", field="spec.registry", remedy="write a host")
    assert str(one) == "spec.registry: is missing; write a host"
    assert str(InvalidManifest("is missing", field="spec", source="a.yaml", line=3)) == "a.yaml:3: spec: is missing"
    assert str(InvalidManifest("is missing", source="a.yaml")) == "a.yaml: is missing"
    assert str(InvalidManifest("is missing")) == "is missing"
    assert str(InvalidSettings((one, one))).count("spec.registry") == 2

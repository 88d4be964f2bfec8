"""Label selectors, as Kubernetes matches them."""

from __future__ import annotations

import pytest

from registry_access.model.label_selector import LabelSelector, Operator, Requirement


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


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        (Requirement("app", Operator.IN, ("shop", "blog")), "app in (shop,blog)"),
        (Requirement("app", Operator.NOT_IN, ("shop",)), "app notin (shop)"),
        (Requirement("app", Operator.EXISTS), "app"),
        (Requirement("app", Operator.DOES_NOT_EXIST), "!app"),
    ],
)
def test_a_selector_is_written_as_kubectl_takes_it(requirement: Requirement, text: str) -> None:
    assert str(requirement) == text
    assert str(LabelSelector((("tier", "gold"),), (requirement,))) == f"tier=gold,{text}"

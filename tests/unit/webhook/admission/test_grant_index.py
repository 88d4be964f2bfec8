"""Which grants cover an image, found without looking at all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_access.model.label_selector import LabelSelector
from registry_access.model.resources import PullGrant
from tests.support.pods import grant
from webhook.admission.grant_index import MAXIMUM_GRANTS, GrantIndex, GrantIndexes

keys, values = st.sampled_from(["app", "tier"]), st.sampled_from(["web", "db"])
expressions = st.one_of(
    st.builds(lambda key, operator: {"key": key, "operator": operator}, keys, st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(
        lambda key, operator, some: {"key": key, "operator": operator, "values": some},
        keys,
        st.sampled_from(["In", "NotIn"]),
        st.lists(values, min_size=1, max_size=2, unique=True),
    ),
)
selectors = st.fixed_dictionaries(
    {}, optional={"matchLabels": st.dictionaries(keys, values, max_size=2), "matchExpressions": st.lists(expressions, max_size=2)}
)
patterns = st.sampled_from(
    ["ghcr.io/*", "ghcr.io/a", "ghcr.io/a/*", "ghcr.io/a/b", "ghcr.io/a/b/*", "quay.io/a/*", "docker.io/*"]
)
grants = st.lists(st.tuples(st.lists(patterns, min_size=1, max_size=3, unique=True), selectors), max_size=8).map(
    lambda rows: [grant(f"g{number}", tuple(images), podSelector=selector) for number, (images, selector) in enumerate(rows)]
)
repositories = st.sampled_from(
    [("ghcr.io", "a"), ("ghcr.io", "a/b"), ("ghcr.io", "a/b/c"), ("ghcr.io", "ab"), ("quay.io", "a/b")]
)


def plainly(given_grants: list[PullGrant], labels: dict[str, str], registry: str, repository: str) -> list[str]:
    return sorted(
        each.metadata.name for each in given_grants if each.pod_selector.matches(labels) and each.covers(registry, repository)
    )


@given(grants, grants, st.dictionaries(keys, values), repositories)
def test_it_finds_what_looking_at_every_grant_finds(
    before: list[PullGrant], after: list[PullGrant], labels: dict[str, str], name: tuple[str, str]
) -> None:
    index = GrantIndex(before)
    for now in (before, [*before[:3], *after[3:]], after, []):
        index.update(now)
        selection = index.select(labels)
        assert [each.metadata.name for each in selection.covering(*name)] == plainly(now, labels, *name)
        selected = [each for each in now if each.pod_selector.matches(labels)]
        assert (selection.first is None) is not bool(selected)
        assert selection.has_registry(name[0]) is any(p.registry == name[0] for each in selected for p in each.images)
        assert index.is_pull_secret("akua-pull-g0") is any(each.metadata.name == "g0" for each in now)
        assert index.is_host("oci.akua.dev") is bool(now) is bool(index)


@pytest.fixture
def matched(monkeypatch: pytest.MonkeyPatch) -> list[LabelSelector]:
    """Every selector that is matched from here on."""
    seen: list[LabelSelector] = []
    matches = LabelSelector.matches

    def counted(self: LabelSelector, labels: Any) -> bool:
        seen.append(self)
        return matches(self, labels)

    monkeypatch.setattr(LabelSelector, "matches", counted)
    return seen


def test_thousands_of_grants_are_not_looked_at_one_by_one(matched: list[LabelSelector]) -> None:
    """By another label, by another repository, and by the same repository with other labels."""
    index = GrantIndex(
        [grant(f"label-{number:04}", podSelector={"matchLabels": {"app": f"app-{number}"}}) for number in range(2000)]
        + [grant(f"repository-{number:04}", (f"ghcr.io/acme-{number}/*",)) for number in range(2000)]
    )
    selection = index.select({"app": "app-7"})
    assert [each.metadata.name for each in selection.covering("ghcr.io", "acme/app")] == ["label-0007"]
    assert [each.metadata.name for each in selection.covering("ghcr.io", "acme-7/app")] == ["repository-0007"]
    assert len(matched) < 10
    for number in range(500):
        selection.covering("ghcr.io", f"acme/app-{number}")
    assert len(matched) < 10


def test_of_many_grants_of_one_image_the_first_are_used(matched: list[LabelSelector]) -> None:
    selection = GrantIndex([grant(f"g{number:03}") for number in range(300)]).select({})
    names = [each.metadata.name for each in selection.covering("ghcr.io", "acme/app")]
    assert names == [f"g{number:03}" for number in range(MAXIMUM_GRANTS)]
    assert len(matched) < 3 * MAXIMUM_GRANTS


def test_two_grants_of_one_name_are_told_apart() -> None:
    first, second = grant("shop"), grant("shop", ("quay.io/*",))
    index = GrantIndex([first, second])
    index.update([first])
    assert index.select({}).covering("ghcr.io", "acme/app") == (first,)
    assert index.select({}).covering("quay.io", "acme/app") == ()


def test_a_change_of_one_grant_costs_one_grant(monkeypatch: pytest.MonkeyPatch) -> None:
    first = tuple(grant(f"g{number}") for number in range(50))
    indexes = GrantIndexes(maximum=2)
    index = indexes.of("shop", first)
    added: list[str] = []
    add = GrantIndex._add

    def counted(self: GrantIndex, one: PullGrant) -> None:
        added.append(one.metadata.name)
        add(self, one)

    monkeypatch.setattr(GrantIndex, "_add", counted)
    changed = (*first[1:], grant("g0", ("quay.io/*",)))
    assert indexes.of("shop", changed) is index
    assert indexes.of("shop", changed) is index
    assert added == ["g0"]
    assert index.select({}).has_registry("quay.io")
    assert not indexes.of("shop", ())
    for name in ("a", "b", "c"):
        indexes.of(name, first)
    added.clear()
    indexes.of("c", first)
    assert added == []
    indexes.of("a", first)
    assert len(added) == 50

"""Kubernetes label selectors (meta/v1 LabelSelector): matchLabels and matchExpressions, all of which must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Anchor = tuple[str, str | None]  # a label's key and value; None for any value


class Operator(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One matchExpressions entry. `values` is empty for Exists and DoesNotExist."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()
    _among: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_among", frozenset(self.values))

    def __str__(self) -> str:
        if self.operator in (Operator.IN, Operator.NOT_IN):
            return f"{self.key} {self.operator.lower()} ({','.join(self.values)})"
        return self.key if self.operator is Operator.EXISTS else f"!{self.key}"

    def matches(self, labels: Mapping[str, str]) -> bool:
        present = self.key in labels
        if self.operator is Operator.EXISTS:
            return present
        if self.operator is Operator.DOES_NOT_EXIST:
            return not present
        listed = present and labels[self.key] in self._among
        return listed if self.operator is Operator.IN else not listed


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Selects by labels; an empty selector selects everything."""

    match_labels: tuple[tuple[str, str], ...] = ()
    match_expressions: tuple[Requirement, ...] = ()

    @property
    def selects_everything(self) -> bool:
        return not self.match_labels and not self.match_expressions

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        """Labels of which whatever it selects has exactly one, so that selectors can be found by label; () where none is sure."""
        if self.match_labels:
            return self.match_labels[:1]
        for requirement in self.match_expressions:
            if requirement.operator is Operator.IN:
                return tuple((requirement.key, value) for value in dict.fromkeys(requirement.values))
            if requirement.operator is Operator.EXISTS:
                return ((requirement.key, None),)
        return ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.match_labels) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )

    def may_overlap(self, other: LabelSelector) -> bool:
        """Whether one set of labels could match both. False only when one key is required to differ; else cautious."""
        required = dict(self.match_labels)
        if any(key in required and required[key] != value for key, value in other.match_labels):
            return False
        return not (_excludes(self, other) or _excludes(other, self))

    def __str__(self) -> str:
        """As `kubectl --selector` takes it."""
        return ",".join([*(f"{key}={value}" for key, value in self.match_labels), *map(str, self.match_expressions)])

    def to_manifest(self) -> dict[str, object]:
        manifest: dict[str, object] = {}
        if self.match_labels:
            manifest["matchLabels"] = dict(self.match_labels)
        if self.match_expressions:
            manifest["matchExpressions"] = [
                {
                    "key": item.key,
                    "operator": str(item.operator),
                    **({"values": list(item.values)} if item.values else {}),
                }
                for item in self.match_expressions
            ]
        return manifest


EVERYTHING = LabelSelector()


def _excludes(first: LabelSelector, second: LabelSelector) -> bool:
    """Whether a matchLabels pair of `first` contradicts an expression of `second` on the same key."""
    required = dict(first.match_labels)
    return any(each.key in required and not each.matches(required) for each in second.match_expressions)

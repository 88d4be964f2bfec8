"""Label selectors in manifests (meta/v1 LabelSelector)."""

from __future__ import annotations

from functools import lru_cache

from registry_access.model.label_selector import EVERYTHING, LabelSelector, Operator, Requirement
from registry_access.model.resources.field_reader import FieldReader


def read_selector(reader: FieldReader) -> LabelSelector:
    """The selector in `reader`; an empty mapping selects everything. Raises InvalidManifest."""
    labels = tuple(sorted(reader.text_map("matchLabels", maximum_items=64).items()))
    expressions = tuple(_requirement(item) for item in reader.children("matchExpressions"))
    reader.refuse_unknown()
    return _shared(labels, expressions) if labels or expressions else EVERYTHING


@lru_cache(maxsize=16384)
def _shared(labels: tuple[tuple[str, str], ...], expressions: tuple[Requirement, ...]) -> LabelSelector:
    return LabelSelector(labels, expressions)


def _requirement(reader: FieldReader) -> Requirement:
    operator = Operator(reader.choice("operator", [str(item) for item in Operator], default=None))
    values = reader.texts("values")
    key = reader.text("key", default=None)
    if operator in (Operator.IN, Operator.NOT_IN) and not values:
        raise reader.invalid("values", f"{operator} needs at least one", "list the label's values")
    if operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST) and values:
        raise reader.invalid("values", f"{operator} takes none", "remove them, or use In or NotIn")
    reader.refuse_unknown()
    return Requirement(key, operator, values)

"""Long lists in a sentence."""

from __future__ import annotations

from registry_access.model.listing import and_more


def test_a_long_list_says_how_many_more() -> None:
    assert and_more(["a", "b"], 3) == "a, b"
    assert and_more(["a", "b", "c", "d", "e"], 2) == "a, b and 3 more"
    assert and_more(["a", "b", "c"], 2, separator="; ") == "a; b and 1 more"
    assert and_more([], 2) == ""

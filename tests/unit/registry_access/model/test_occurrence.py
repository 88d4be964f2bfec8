"""Occurrences: what they have in common, and notes that an API server takes."""

from __future__ import annotations

import pytest

from registry_access.model.occurrence import NOTE_MAXIMUM, EventReason, occurrence
from tests.unit.registry_access.model.test_resources import manifest, read

SHOP = read(manifest("Install"))


@pytest.mark.parametrize("note", ["short", "x" * 1024, "x" * 2000, "é" * 700, "\u20ac" * 1000, "a\nb\x00"])
def test_a_note_is_one_line_that_an_api_server_takes(note: str) -> None:
    made = occurrence(SHOP, EventReason.PULL_REFUSED, "Pull", note).note
    assert len(made.encode()) <= NOTE_MAXIMUM
    assert made.isprintable()
    assert made == note or made.endswith("…") or made == "a\\x0ab\\x00"


def test_what_repeats_what() -> None:
    first = occurrence(SHOP, EventReason.PULL_REFUSED, "Pull", "one", alike="install-revoked")
    assert first.series == occurrence(SHOP, EventReason.PULL_REFUSED, "Pull", "two", alike="install-revoked").series
    assert first.series != occurrence(SHOP, EventReason.PULL_REFUSED, "Pull", "one", alike="not-entitled").series
    assert (str(first.regarding), first.uid, first.warning) == ("Install acme/shop", "u-1", False)

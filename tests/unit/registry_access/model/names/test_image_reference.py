"""Image references, against distribution's own table and by property."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_access.model.errors import InvalidImageReference
from registry_access.model.names.image_reference import ImageReference, parse_image_reference

ROWS = list(csv.DictReader(Path("tests/cases/image_references.tsv").read_text().splitlines(), delimiter="\t"))


SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize("row", ROWS, ids=[row["input"][:50] for row in ROWS])
def test_references_parse_as_distribution_parses_them(row: dict[str, str]) -> None:
    if row["valid"] != "true":
        with pytest.raises(InvalidImageReference):
            parse_image_reference(row["input"])
        return
    reference = parse_image_reference(row["input"])
    assert reference == ImageReference(row["registry"], row["repository"], row["tag"] or "", row["digest"] or "")
    assert reference.familiar == row["expected_normalized_familiar"]
    assert parse_image_reference(str(reference)) == reference or "/" not in row["input"]


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


hosts = st.builds(
    lambda name, port: name + port,
    st.lists(labels, min_size=2, max_size=4).map(".".join),
    st.one_of(st.just(""), st.integers(1, 65535).filter(lambda port: port != 443).map(lambda port: f":{port}")),
)


components = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}", fullmatch=True)


references = st.builds(
    ImageReference,
    hosts,
    st.lists(components, min_size=1, max_size=4).map("/".join),
    st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)),
    st.one_of(st.just(""), st.just(SHA)),
)


@given(references)
def test_parsing_is_the_inverse_of_printing(reference: ImageReference) -> None:
    assert parse_image_reference(str(reference)) == reference


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused_with_a_message(text: str) -> None:
    try:
        reference = parse_image_reference(text)
    except InvalidImageReference:
        return
    assert reference.repository


@pytest.mark.parametrize("tag", ["", "-x", ".x", "a" * 129, "a b", "x\n"])
def test_what_is_no_tag(tag: str) -> None:
    with pytest.raises(InvalidImageReference, match="tag"):
        parse_image_reference(f"redis:{tag}")

"""`akua image` agrees with every row of the case table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Akua

TABLE = Path(__file__).parents[3] / "cases/image_references.tsv"
MEMBERS = ["input", "valid", "registry", "repository", "tag", "digest", "familiar", "proxied", "reason"]


def rows() -> list[dict[str, str]]:
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("piped", [True, False])
def test_agrees_with_every_row(akua: Akua, piped: bool) -> None:
    table = rows()
    assert len(table) > 70
    references = [row["input"] for row in table]
    ran = akua("image", stdin="\n".join(references) + "\n") if piped else akua("image", "--", *references)
    assert ran.code == 0
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [item["input"] for item in found] == references
    for row, item in zip(table, found, strict=True):
        assert list(item) == MEMBERS
        assert item["valid"] is (row["valid"] == "true"), row["input"]
        assert (item["registry"], item["repository"]) == (row["registry"], row["repository"]), row["input"]
        assert (item["tag"], item["digest"]) == (row["tag"] or "", row["digest"] or ""), row["input"]
        if item["valid"]:
            assert item["familiar"] == row["expected_normalized_familiar"], row["input"]
            assert bool(item["proxied"]) is not bool(item["reason"]), row["input"]
        else:
            assert item["reason"], row["input"]


def test_the_host_is_a_choice(akua: Akua) -> None:
    ran = akua("image", "--host", "oci.example.com:8443", "redis:7", "oci.example.com:8443/docker.io/library/redis:7")
    first, second = (json.loads(line) for line in ran.out.splitlines())
    assert first["proxied"] == "oci.example.com:8443/docker.io/library/redis:7"
    assert (second["proxied"], second["reason"]) == ("", "already-proxied")


def test_what_is_no_text_gets_an_answer_too(akua: Akua) -> None:
    ran = akua("image", stdin=b"\xff\xfe\n\nredis\n")
    assert [json.loads(line)["valid"] for line in ran.out.splitlines()] == [False, False, True]


def test_a_host_that_is_none_is_said_once(akua: Akua) -> None:
    ran = akua("image", "--host", "https://oci.example.com", "redis")
    assert ran.code == 2
    assert "host[:port]" in ran.err
    assert ran.out == ""

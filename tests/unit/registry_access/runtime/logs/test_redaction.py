"""Known values, in whatever form they are written, and nothing else; at a cost that does not depend on how many there are."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from registry_access.runtime.logs.redaction import REDACTED, Redactor

VALUE = 'pä"ss w/ord+=%~'


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        json.dumps({"a": VALUE}),
        json.dumps({"a": VALUE}, ensure_ascii=False),
        f"https://registry.example/token?pw={quote(VALUE, safe='')}&x=1",
        f"pw={quote_plus(VALUE)}&x=1",
        repr(VALUE.encode()),
        base64.b64encode(VALUE.encode()).decode(),
        base64.urlsafe_b64encode(VALUE.encode()).decode(),
        base64.b64encode(f"robot:{VALUE}".encode()).decode(),
        base64.b64encode(f"a:{VALUE}\n".encode()).decode(),
        base64.b64encode(f"ab:{VALUE}, and more".encode()).decode(),
    ],
)
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_value_is_found_in_every_form(written: str, ending: str) -> None:
    redactor = Redactor()
    redactor.learn("owner", [VALUE + ending])
    for before in ("", "x", "xy", "xyz ", "the answer was: "):
        found = redactor(before + written)
        assert REDACTED in found, found
        for part in (VALUE[2:8], base64.b64encode(VALUE.encode()).decode()[4:12]):
            assert part not in found, found


def test_the_longest_of_values_that_begin_alike_goes_whole() -> None:
    redactor = Redactor()
    redactor.learn(1, ["dckr_pat_abcdefgh"])
    redactor.learn(2, ["dckr_pat_abcdefghijklmnopqrstuvwxyz", "dckr_pat_zyx"])
    found = redactor("a dckr_pat_abcdefghijklmnopqrstuvwxyz b dckr_pat_abcdefgh c dckr_pat_zyx")
    assert found == f"a {REDACTED} b {REDACTED} c {REDACTED}"
    redactor.forget(2)
    assert redactor("a dckr_pat_abcdefghijklmn, dckr_pat_zyx") == f"a {REDACTED}ijklmn, dckr_pat_zyx"
    redactor.forget(1)
    assert redactor("dckr_pat_abcdefgh") == "dckr_pat_abcdefgh"
    assert not redactor._windows
    assert not redactor._values.further


def test_two_owners_of_one_value_keep_it_until_both_forget_it() -> None:
    redactor = Redactor()
    for owner in (1, 2):
        redactor.learn(owner, ["shared-value-1"])
    redactor.forget(1)
    assert redactor("shared-value-1") == REDACTED
    redactor.learn(2, ["another-value"])
    assert redactor("shared-value-1 another-value") == f"shared-value-1 {REDACTED}"


@pytest.mark.parametrize(
    "value", ["refused", "Refused\n", "not-entitled", "unavailable", "the", "INSTALL_REVOKED", "install  revoked"]
)
def test_words_of_ours_and_short_ones_stay(value: str) -> None:
    redactor = Redactor({"not", "entitled", "unavailable", "install", "revoked"})
    redactor.learn("a member of some workspace", [value])
    line = f"install shop was refused the unavailable image: not-entitled INSTALL_REVOKED {value}"
    assert redactor(line) == line


def test_what_an_owner_may_have_looked_for_is_bounded() -> None:
    redactor = Redactor()
    assert redactor.learn("few", ["a-value-to-find"])
    assert not redactor.learn("many", (f"{number:012}" for number in range(10_000)))
    assert len(redactor._owned["many"]) <= 2048
    assert redactor("a-value-to-find") == REDACTED


class _Counted(dict[str, int]):
    looked = 0

    def __contains__(self, key: object) -> bool:
        _Counted.looked += 1
        return super().__contains__(key)


def test_a_line_costs_as_many_steps_whatever_is_known() -> None:
    line = "install shop pulled ghcr.io/acme/app@sha256:" + "a" * 64
    steps = []
    for owners in (1, 1000):
        redactor = Redactor()
        for owner in range(owners):
            redactor.learn(owner, [f"{owner:07}-secret-{owner:07}"])
        redactor._windows = _Counted(redactor._windows)  # type: ignore[assignment]
        _Counted.looked = 0
        assert redactor(line) == line
        steps.append(_Counted.looked)
    assert steps[0] == steps[1] <= len(line) / 3 + 1


def test_what_only_begins_like_a_token_takes_no_longer_than_its_length() -> None:
    """By the square of the length, as an upstream or a client may choose it, this would take an hour."""
    text = "eyJ-" * 200_000
    assert Redactor()(text) == text
    assert Redactor()("a eyJhbGci.eyJzdWIi.c2ln b") == f"a {REDACTED} b"
    assert Redactor()("eyJhbGci. eyJ0eXAi.eyJzdWIi.c2ln") == f"eyJhbGci. {REDACTED}"

"""An upstream that repeats a secret is not quoted."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from proxy.upstream.quotation import MAXIMUM, quotable

SECRET = "c4nary/p@ss+w0rd=of the registry"
BASIC = base64.b64encode(f"robot:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"invalid password {SECRET!r}",
        f"invalid password {SECRET.upper()}",
        f"no such token: {SECRET[:12]}...",
        f"tail ...{SECRET[-10:]}",
        f"q={quote(SECRET, safe='')}",
        f"q={quote(SECRET)}",
        "got " + " ".join(SECRET),
        "got " + "\u200b".join(SECRET),
        f"Authorization: Basic {BASIC}",
        f"token {base64.urlsafe_b64encode(SECRET.encode()).decode()}",
        f"token {SECRET.encode().hex()}",
        "x" * 190 + SECRET,
        "&#99;4nary/p@ss+w0rd",
    ],
)
def test_a_text_with_the_secret_in_it_is_left_out(text: str) -> None:
    assert quotable(text, (SECRET,)) == ""


@pytest.mark.parametrize("secret", ["a", "hunter2", "p w"])
def test_short_secrets_too(secret: str) -> None:
    assert quotable(f"the password {secret} is wrong", (secret,)) == ""


def test_other_words_are_passed_on_bounded_and_printable() -> None:
    assert quotable("denied:\x07 no scope", (SECRET,)) == "denied:  no scope"
    assert len(quotable("x" * 1000, (SECRET,))) == MAXIMUM
    assert quotable("", (SECRET,)) == ""
    assert quotable("nothing to hide", ("",)) == "nothing to hide"


def test_a_long_secret_and_a_long_text_take_no_longer_than_reading_them() -> None:
    """Both are chosen by one member, and the event loop is everybody's; by their product this would take minutes."""
    secrets = [f"{number:08x}" * 1000 for number in range(0xA0000000, 0xA0000010)]
    assert quotable("ab cd " * 1400, secrets).startswith("ab cd")
    assert quotable("ab cd " * 100 + secrets[-1][:9], secrets) == ""
    assert quotable("wrong password", ["x" * 1_000_000]) == ""

"""What others say, fit to be passed on: bounded, printable, and never with a secret of ours in it.

An error text goes into an answer that a pod's author reads, an audit row and a log line. A token service may repeat the password
that it refuses: none of them may show it.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Iterable, Iterator
from urllib.parse import quote, unquote

MAXIMUM = 200
_SEARCHED = 8192
_LONGEST = 8192  # of a secret that is looked for; with a longer one, nothing is quoted
_WINDOW = 8  # characters of a secret in a row that are taken for a part of it


def quotable(text: str, secrets: Iterable[str] = ()) -> str:
    """The beginning of `text` on one line; "" when any of the text repeats one of `secrets`, or a part of one, in any encoding.

    Left out whole, not blanked: what is around a secret (its length, what else was wrong with it) is nobody's business either.
    """
    said = text[:_SEARCHED]
    forms = {_plain(form) for form in (said, unquote(said), html.unescape(said))}
    windows = {form[start : start + _WINDOW] for form in forms for start in range(len(form) - _WINDOW + 1)}
    for secret in secrets:
        if len(secret) > _LONGEST or any(_repeats(forms, windows, variant) for variant in _variants(secret)):
            return ""
    return "".join(character if character.isprintable() else " " for character in said[:MAXIMUM])


def _variants(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "surrogateescape")
    yield _plain(secret)
    yield _plain(quote(secret))
    yield _plain(raw.hex())
    # base64 within a longer text begins at any of three places; what depends on the neighbours is left out.
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        for form in (encoded, encoded.replace("+", "-").replace("/", "_")):
            yield _plain(form[4 if shift else 0 : -2 or None])


def _repeats(forms: Collection[str], windows: Collection[str], secret: str) -> bool:
    """Linear in the secret's length: a member chooses the secret, and whoever answers for his registry the text."""
    if len(secret) <= _WINDOW:
        return bool(secret) and any(secret in form for form in forms)
    return any(secret[start : start + _WINDOW] in windows for start in range(len(secret) - _WINDOW + 1))


def _plain(text: str) -> str:
    """Without what can be strewn into it: spaces, control and zero-width characters, upper case."""
    return "".join(character for character in text if character.isprintable() and not character.isspace()).casefold()

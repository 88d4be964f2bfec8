"""Keeping secrets out of what is written: by where they stand, by what they look like, and by value."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
_AUTHORIZATION = re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9+/=_.~-]{6,}")
# What begins like a token is followed to where it cannot go on, and not tried again in the middle: else a line of `eyJ-` would
# take time by its square.
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]*+(?:\.[A-Za-z0-9_-]++\.[A-Za-z0-9_-]*+)?+")
_NAMED = re.compile(
    r"""(?ix)(["']?\b(?:password|passwd|secret|client_secret|refresh_token|access_token|identitytoken|authorization|api_?key)["']?\s*[:=]\s*)
        (?:"[^"]*"|'[^']*'|[^\s,;&}]+)"""
)
_URL_PASSWORD = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
_MINIMUM = 8  # characters; shorter values would blank ordinary words
_MAXIMUM = 8192  # of a value that is looked for as a whole
_CHUNK = _MINIMUM  # values are kept by pieces of as many characters
_WINDOW = 6  # three windows of a value's first piece, one character apart, let a search step three characters at a time
_STEP = _CHUNK - _WINDOW + 1
_WORD = re.compile(r"[^\W_]+")
_FORMS_EACH = 2048  # forms of values that one owner may have looked for


class _Node:
    """Values by the pieces that they begin with: how long it takes to find one does not depend on how many there are."""

    __slots__ = ("ends", "further")

    def __init__(self) -> None:
        self.further: dict[str, _Node] = {}
        self.ends: dict[int, set[str]] = {}  # what is left of values that end here, by its length

    def add(self, value: str) -> None:
        node = self
        while len(value) >= _CHUNK:
            node, value = node.further.setdefault(value[:_CHUNK], _Node()), value[_CHUNK:]
        node.ends.setdefault(len(value), set()).add(value)

    def remove(self, value: str) -> None:
        path: list[tuple[_Node, str]] = []
        node = self
        while len(value) >= _CHUNK:
            path.append((node, value[:_CHUNK]))
            node, value = node.further[value[:_CHUNK]], value[_CHUNK:]
        node.ends[len(value)].discard(value)
        if not node.ends[len(value)]:
            del node.ends[len(value)]
        for parent, piece in reversed(path):
            below = parent.further[piece]
            if below.ends or below.further:
                break
            del parent.further[piece]

    def end(self, text: str, start: int) -> int:
        """Where the longest value that begins at `start` ends; 0 when none begins there."""
        node, position, longest = self.further.get(text[start : start + _CHUNK]), start + _CHUNK, 0
        while node is not None:
            for length, ends in node.ends.items():
                if text[position : position + length] in ends:
                    longest = max(longest, position + length)
            node, position = node.further.get(text[position : position + _CHUNK]), position + _CHUNK
        return longest


class Redactor:
    """Redacts known values wherever they stand, also in JSON, in a URL, or in base64.

    A search takes a step for every three characters of a line, however many values are known: nobody's Secrets make another's
    log lines slower. `ordinary`: words that are never redacted, because our own lines are made of them.
    """

    def __init__(self, ordinary: Collection[str] = ()) -> None:
        self._ordinary = frozenset(ordinary)
        self._forms: Counter[str] = Counter()  # by how many owners
        self._windows: Counter[str] = Counter()
        self._values = _Node()
        self._owned: dict[Hashable, frozenset[str]] = {}

    def add(self, values: Iterable[str]) -> None:
        """Values that are secret for as long as the process runs."""
        for value in values:
            self.learn(("for good", value), [value])

    def learn(self, owner: Hashable, values: Iterable[str]) -> bool:
        """What `owner` keeps secret from now on, in place of what it had; False when that is more than one owner may have."""
        forms: set[str] = set()
        whole = True
        for value in values:
            stripped = value.strip("\r\n")
            if not _MINIMUM <= len(stripped) <= _MAXIMUM or self._is_ordinary(stripped):
                continue
            found = {form for form in _forms(stripped) if len(form) >= _MINIMUM}
            if len(forms) + len(found) > _FORMS_EACH:
                whole = False
                break
            forms |= found
        before = self._owned.get(owner, frozenset())
        for form in forms - before:
            self._forms[form] += 1
            if self._forms[form] == 1:
                self._enter(form)
        for form in before - forms:
            self._forms[form] -= 1
            if not self._forms[form]:
                del self._forms[form]
                self._leave(form)
        if forms:
            self._owned[owner] = frozenset(forms)
        else:
            self._owned.pop(owner, None)
        return whole

    def forget(self, owner: Hashable) -> None:
        self.learn(owner, ())

    def __call__(self, text: str) -> str:
        text = self._without_values(text)
        text = _AUTHORIZATION.sub(lambda match: f"{match[1]} {REDACTED}", text)
        text = _JWT.sub(lambda match: REDACTED if "." in match[0] else match[0], text)
        text = _NAMED.sub(lambda match: f"{match[1]}{REDACTED}", text)
        return _URL_PASSWORD.sub(REDACTED, text)

    def _is_ordinary(self, value: str) -> bool:
        words = _WORD.findall(value.casefold())
        return bool(words) and all(word in self._ordinary for word in words)

    def _without_values(self, text: str) -> str:
        windows, values = self._windows, self._values
        pieces: list[str] = []
        done = position = 0
        last = len(text) - _WINDOW if windows else -1
        while position <= last:
            if text[position : position + _WINDOW] in windows:
                for start in range(max(done, position - _STEP + 1), position + 1):
                    if end := values.end(text, start):
                        pieces += [text[done:start], REDACTED]
                        done = position = end
                        break
                else:
                    position += _STEP
            else:
                position += _STEP
        return "".join((*pieces, text[done:])) if pieces else text

    def _enter(self, form: str) -> None:
        self._windows.update(_windows_of(form))
        self._values.add(form)

    def _leave(self, form: str) -> None:
        for window in _windows_of(form):
            self._windows[window] -= 1
            if not self._windows[window]:
                del self._windows[window]
        self._values.remove(form)


def _windows_of(form: str) -> list[str]:
    return [form[offset : offset + _WINDOW] for offset in range(_STEP)]


def _forms(value: str) -> Iterator[str]:
    """A value as it may be written."""
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value, safe="")
    yield quote_plus(value)
    yield repr(value)[1:-1]
    yield repr(value.encode(errors="replace"))[2:-1]
    # In base64 three ways, by what stands before it; only the characters that depend on nothing else.
    content = value.encode(errors="replace")
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + content)
        certain = encoded[-(-before * 8 // 6) : (before + len(content)) * 8 // 6].decode()
        yield certain
        yield certain.replace("+", "-").replace("/", "_")

"""Keeping secrets out of what is written: by where they stand, by what they look like, and by value."""

from __future__ import annotations

import re
from collections.abc import Iterable

REDACTED = "[redacted]"
_AUTHORIZATION = re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9+/=_.~-]{6,}")
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_NAMED = re.compile(
    r"""(?ix)(["']?\b(?:password|passwd|secret|client_secret|refresh_token|access_token|identitytoken|authorization|api_?key)["']?\s*[:=]\s*)
        (?:"[^"]*"|'[^']*'|[^\s,;&}]+)"""
)
_URL_PASSWORD = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
_MINIMUM = 6


class Redactor:
    """Known values are redacted wherever they stand; short ones are not, they would eat ordinary words."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def add(self, values: Iterable[str]) -> None:
        self._values.update(value for value in values if len(value) >= _MINIMUM)

    def __call__(self, text: str) -> str:
        for value in self._values:
            if value in text:
                text = text.replace(value, REDACTED)
        text = _AUTHORIZATION.sub(lambda match: f"{match[1]} {REDACTED}", text)
        text = _JWT.sub(REDACTED, text)
        text = _NAMED.sub(lambda match: f"{match[1]}{REDACTED}", text)
        return _URL_PASSWORD.sub(REDACTED, text)

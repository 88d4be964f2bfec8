"""WWW-Authenticate, as registries write it (RFC 9110 section 11.6.1, RFC 6750 section 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9-]*)(?:\s+|$)", re.ASCII)
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.ASCII)
_HEADER_MAXIMUM = 8192


@dataclass(frozen=True, slots=True)
class Challenge:
    """`scheme` in lower case ("basic", "bearer"); parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge of the WWW-Authenticate header lines, in order; what cannot be read ends its line."""
    found: list[Challenge] = []
    for header in headers:
        text, position = header[:_HEADER_MAXIMUM], 0
        while scheme := _SCHEME.match(text, position):
            position = scheme.end()
            parameters: dict[str, str] = {}
            while parameter := _PARAMETER.match(text, position):
                position = parameter.end()
                value = parameter[2] if parameter[2] is not None else parameter[3]
                parameters[parameter[1].lower()] = re.sub(r"\\(.)", r"\1", value)
            found.append(Challenge(scheme[1].lower(), parameters))
    return found


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """Bearer before Basic; None when neither is offered."""
    by_scheme: dict[str, Challenge] = {}
    for challenge in challenges:
        by_scheme.setdefault(challenge.scheme, challenge)
    return by_scheme.get("bearer") or by_scheme.get("basic")

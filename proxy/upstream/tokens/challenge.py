"""WWW-Authenticate, as registries write it (RFC 9110 sections 5.6.1 and 11.6.1, RFC 6750 section 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 section 5.6.2
# A quoted string that never ends is one to the end of the line. Were it none, each of its quotes would be tried again, and a line
# of escaped quotes would take time by its square.
_ELEMENT = re.compile(r'(?:"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[^",])++', re.ASCII | re.DOTALL)
# Unquoted values that are no tokens (a realm's URL) are read too: registries write them.
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.ASCII)
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+(.*))?", re.ASCII | re.DOTALL)
_HEADER_MAXIMUM = 8192
_LINES_MAXIMUM = 16
_VALUE_MAXIMUM = 2048  # of a parameter that is kept
_KEPT = frozenset({"realm", "service", "scope", "error"})


@dataclass(frozen=True, slots=True)
class Challenge:
    """`scheme` in lower case ("basic", "bearer"); of the parameters realm, service, scope and error, by these names.

    Others mean nothing here, and a challenge is remembered: what an upstream writes must not fill our memory.
    """

    scheme: str
    parameters: Mapping[str, str]

    def asks_as(self, other: Challenge | None) -> bool:
        """Whether a login for `other` is good for this one too: the same scheme and, for tokens, the same issuer and service."""
        if other is None or self.scheme != other.scheme:
            return False
        return self.scheme != "bearer" or all(
            self.parameters.get(name) == other.parameters.get(name) for name in ("realm", "service")
        )


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge of the WWW-Authenticate header lines, in order. What cannot be read is passed over.

    Challenges and their parameters are elements of one list: an element that is not a parameter begins the next challenge.
    """
    found: list[Challenge] = []
    for header in islice(headers, _LINES_MAXIMUM):
        parameters: dict[str, str] | None = None
        for element in _elements(header[:_HEADER_MAXIMUM]):
            if parameters is not None and (parameter := _PARAMETER.fullmatch(element)):
                _add(parameters, parameter)
                continue
            scheme = _SCHEME.fullmatch(element)
            if scheme is None:
                continue
            parameters = {}
            found.append(Challenge(scheme[1].lower(), parameters))
            # Behind the scheme is its first parameter, or a token68, which Basic and Bearer do not have.
            if parameter := _PARAMETER.fullmatch((scheme[2] or "").strip()):
                _add(parameters, parameter)
    return found


def _elements(text: str) -> Iterator[str]:
    for match in _ELEMENT.finditer(text):
        if element := match[0].strip():
            yield element


def _add(parameters: dict[str, str], match: re.Match[str]) -> None:
    name, value = match[1].lower(), match[2] if match[2] is not None else match[3]
    if name in _KEPT and len(value) <= _VALUE_MAXIMUM:
        parameters.setdefault(name, re.sub(r"\\(.)", r"\1", value))


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """Bearer before Basic; None when neither is offered."""
    by_scheme: dict[str, Challenge] = {}
    for challenge in challenges:
        by_scheme.setdefault(challenge.scheme, challenge)
    return by_scheme.get("bearer") or by_scheme.get("basic")

"""Content digests: ``algorithm:encoded`` (OCI image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

from registry_access.model.errors import InvalidDigest

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_ENCODED = re.compile(r"[a-f0-9]+", re.ASCII)


class Hasher(Protocol):
    """What `hashlib` objects offer and we use."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest of a registered algorithm: sha256 (64 lower-case hexadecimal digits) or sha512 (128)."""

    algorithm: str
    encoded: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"

    def hasher(self) -> Hasher:
        """A fresh hash object of this digest's algorithm."""
        return hashlib.sha256() if self.algorithm == "sha256" else hashlib.sha512()

    def matches(self, hasher: Hasher) -> bool:
        """Whether what was fed into `hasher` has this digest."""
        return hasher.hexdigest() == self.encoded


def is_digest(text: str) -> bool:
    """Whether `text` is a digest of a registered algorithm."""
    algorithm, colon, encoded = text.partition(":")
    return bool(colon) and len(encoded) == _HEX_LENGTH.get(algorithm) and _ENCODED.fullmatch(encoded) is not None


def parse_digest(text: str) -> Digest:
    """The digest that `text` spells. Raises InvalidDigest."""
    if not is_digest(text):
        raise InvalidDigest(
            "not a digest of a registered algorithm",
            field="digest",
            remedy="write sha256: and 64 lower-case hexadecimal digits (or sha512: and 128)",
        )
    algorithm, _, encoded = text.partition(":")
    return Digest(algorithm, encoded)

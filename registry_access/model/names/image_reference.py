"""Image references as a person writes them, parsed as distribution's ``ParseNormalizedNamed`` does.

Grammar: distribution/reference, ``reference.go`` and ``normalize.go``. Tags and digests are both kept; nothing is added
that was not written (no ``:latest``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry_access.model.errors import InvalidImageReference
from registry_access.model.names.digest import is_digest
from registry_access.model.names.registry_host import DOCKER_HUB, is_registry_host

REPOSITORY_MAXIMUM = 255
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}", re.ASCII)
_REMEDY = "write [registry[:port]/]repository[:tag][@sha256:digest], such as ghcr.io/acme/storefront:1.4"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image by name. `registry` is ``host[:port]`` as written (Docker Hub's is ``docker.io``); tag and digest may be ""."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return f"{self.registry}/{self.repository}"

    @property
    def suffix(self) -> str:
        """``[:tag][@digest]``."""
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def familiar(self) -> str:
        """The short form that people write: Docker Hub's host and ``library/`` are left out."""
        if self.registry != DOCKER_HUB:
            return str(self)
        official = self.repository.removeprefix("library/")
        return (self.repository if "/" in official else official) + self.suffix

    def __str__(self) -> str:
        return self.name + self.suffix


def is_repository(text: str) -> bool:
    """Whether `text` is a repository name: lower-case components joined by ``/``, at most 255 characters."""
    return len(text) <= REPOSITORY_MAXIMUM and REPOSITORY.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether `text` is a tag (distribution-spec, "Pulling manifests", <reference> as a tag)."""
    return TAG.fullmatch(text) is not None


def parse_image_reference(text: str) -> ImageReference:
    """The image that `text` names. Raises InvalidImageReference, whose message says which part is wrong."""
    if _IDENTIFIER.fullmatch(text):
        raise _invalid("64 hexadecimal digits are an image id, not a repository")
    registry, remainder = _split_registry(text)
    named, at, digest = remainder.partition("@")
    repository, colon, tag = named.partition(":")
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if not is_registry_host(registry):
        raise _invalid("the registry is not host[:port]")
    if REPOSITORY.fullmatch(repository) is None:
        raise _invalid("the repository name must be lower case" if repository.lower() != repository else _BAD_REPOSITORY)
    if len(repository) > REPOSITORY_MAXIMUM:
        raise _invalid(f"the repository name is longer than {REPOSITORY_MAXIMUM} characters")
    if colon and not is_tag(tag):
        raise _invalid("the tag has a character that tags cannot have, or is empty or longer than 128")
    if at and not is_digest(digest):
        raise _invalid("the digest is not sha256: and 64 lower-case hexadecimal digits, or sha512: and 128")
    return ImageReference(registry, repository, tag, digest)


_BAD_REPOSITORY = "the repository name is empty or has a character or separator that it cannot have"


def _invalid(problem: str) -> InvalidImageReference:
    return InvalidImageReference(problem, field="image", remedy=_REMEDY)


def _split_registry(text: str) -> tuple[str, str]:
    """The registry and the rest: a first component is a registry if it has a dot, a colon or an upper-case letter."""
    first, slash, rest = text.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return DOCKER_HUB, text
    return (DOCKER_HUB if first == "index.docker.io" else first), rest

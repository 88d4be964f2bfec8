"""Patterns over repositories: an exact name, or everything below a prefix (``ghcr.io/acme/*``, at any depth)."""

from __future__ import annotations

from dataclasses import dataclass

from registry_access.model.errors import InvalidRegistryHost, InvalidRepositoryPattern
from registry_access.model.names.image_reference import is_repository
from registry_access.model.names.registry_host import DOCKER_HUB, normalize_registry_host


@dataclass(frozen=True, slots=True, order=True)
class RepositoryPrefix:
    """A pattern below one registry, as in `RegistryCredential.spec.repositories`: ``acme/app``, ``acme/*`` or ``*``.

    `path` is without the ``/*``; `below` says whether it stands for everything under it ("" and True: every repository).
    """

    path: str
    below: bool

    def covers(self, repository: str) -> bool:
        if not self.below:
            return repository == self.path
        return not self.path or repository.startswith(self.path + "/")

    @property
    def specificity(self) -> tuple[int, bool]:
        """Sorts patterns that cover one repository: the longest wins, an exact name over a prefix of the same length."""
        return len(self.path), not self.below

    def __str__(self) -> str:
        if not self.below:
            return self.path
        return f"{self.path}/*" if self.path else "*"


@dataclass(frozen=True, slots=True, order=True)
class RepositoryPattern:
    """A pattern with its registry, as in `Product.spec.repositories`: ``ghcr.io/acme/storefront``, ``ghcr.io/acme/*``."""

    registry: str
    prefix: RepositoryPrefix

    def covers(self, registry: str, repository: str) -> bool:
        return registry == self.registry and self.prefix.covers(repository)

    def __str__(self) -> str:
        return f"{self.registry}/{self.prefix}"


def parse_repository_prefix(text: str, *, field: str = "repositories") -> RepositoryPrefix:
    """A pattern without registry. Raises InvalidRepositoryPattern."""
    if text == "*":
        return RepositoryPrefix("", True)
    path = text.removesuffix("/*")
    if not is_repository(path):
        raise InvalidRepositoryPattern(
            f"{text!r} is not a repository pattern",
            field=field,
            remedy="write a lower-case repository such as acme/app, or acme/* for everything below acme",
        )
    return RepositoryPrefix(path, path != text)


def parse_repository_pattern(text: str, *, field: str = "repositories") -> RepositoryPattern:
    """A pattern with registry; Docker Hub's one-part names get their ``library/``. Raises InvalidRepositoryPattern."""
    host, slash, rest = text.partition("/")
    try:
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            raise InvalidRegistryHost("no registry host")
        registry = normalize_registry_host(host)
    except InvalidRegistryHost:
        raise InvalidRepositoryPattern(
            f"{text!r} does not begin with a registry host",
            field=field,
            remedy="write registry/repository, such as docker.io/library/redis or ghcr.io/acme/*",
        ) from None
    prefix = parse_repository_prefix(rest, field=field)
    if registry == DOCKER_HUB and not prefix.below and "/" not in prefix.path:
        prefix = RepositoryPrefix(f"library/{prefix.path}", False)
    return RepositoryPattern(registry, prefix)

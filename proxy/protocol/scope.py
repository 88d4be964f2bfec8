"""Access scopes: ``type:name:action,action`` (distribution, "Token Scope Documentation")."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from registry_access.model.errors import InvalidRegistryHost, InvalidScope
from registry_access.model.names.image_reference import is_repository
from registry_access.model.names.proxied_reference import split_proxied_name

_TYPE = re.compile(r"(?P<type>[a-z0-9]+)(?:\([a-z0-9]+\))?", re.ASCII)
_ACTION = re.compile(r"[a-z]+|\*", re.ASCII)
_SCOPE_MAXIMUM = 1024


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token opens. `name` is the name in the client's path, for a repository ``{registry}/{repository}``."""

    type: str
    name: str
    actions: frozenset[str]

    def __str__(self) -> str:
        return f"{self.type}:{self.name}:{','.join(sorted(self.actions))}"

    def pulls(self, name: str) -> bool:
        """Whether its holder may pull the repository `name`, as the client's path has it."""
        return self.type == "repository" and self.name == name and "pull" in self.actions

    def repository(self) -> tuple[str, str] | None:
        """Registry host and repository of a repository scope; None for another type or a name that is none of ours."""
        if self.type != "repository" or not is_repository(self.name):
            return None
        try:
            return split_proxied_name(self.name)
        except InvalidRegistryHost:
            return None


def parse_scope(text: str) -> Scope:
    """One scope, split on its first and last colon; ``repository(plugin)`` counts as ``repository``. Raises InvalidScope."""
    head, first, rest = text.partition(":")
    name, last, actions = rest.rpartition(":")
    kind = _TYPE.fullmatch(head)
    if len(text) > _SCOPE_MAXIMUM or not (first and last and name and kind):
        raise InvalidScope("not a scope", field="scope", remedy="write type:name:action, such as repository:acme/app:pull")
    listed = frozenset(actions.split(",")) if actions else frozenset[str]()
    if not all(_ACTION.fullmatch(action) for action in listed):
        raise InvalidScope("an action is not a lower-case word", field="scope", remedy="write pull")
    return Scope(kind["type"], name, listed)


def parse_scopes(values: Iterable[str]) -> tuple[Scope, ...]:
    """Every scope of repeated parameters, each of which may join several by spaces. What is no scope is left out.

    A partial or unknown scope is no error (distribution, "Token Authentication Specification"): the token just opens less.
    """
    scopes: list[Scope] = []
    for text in (word for value in values for word in value.split(" ") if word):
        try:
            scopes.append(parse_scope(text))
        except InvalidScope:
            continue
    return tuple(scopes)

"""Whose installs a namespace takes. Pure.

A target may name any namespace, and what is written there decides where its pods pull from. So who may change namespaces (which
not even `admin` in one may) says by the annotation `registry.akua.dev/workspaces` whose installs one takes. One that says nothing
takes any or, where the setting AKUA_TARGET_NAMESPACES is `annotated`, none.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry_access.model.resources import Namespace
from registry_access.model.resources.metadata import TAKES_ANNOTATION

ANYBODY = "*"


@dataclass(frozen=True, slots=True)
class Admittance:
    """`unsaid`: whether a namespace without the annotation takes installs."""

    unsaid: bool = True

    def takes(self, namespace: Namespace, workspace: str) -> bool:
        said = said_by(namespace)
        if said is None:
            # A workspace's own namespace is its members' already.
            return self.unsaid or namespace.metadata.name == workspace
        return workspace in said or ANYBODY in said

    def refusal(self, name: str, namespace: Namespace | None, workspace: str) -> str:
        """Why the namespace `name` takes nothing of `workspace`, and the way out; "" when it does. None: it is not known."""
        if namespace is None and not self.unsaid:
            return f"namespace {name} is not there yet; it must name {workspace} in its annotation {TAKES_ANNOTATION}"
        if namespace is None or self.takes(namespace, workspace):
            return ""
        why = "does not name it" if said_by(namespace) is not None else "is missing"
        return (
            f"namespace {name} takes no installs of workspace {workspace}: its annotation {TAKES_ANNOTATION} {why}; "
            "who administers the cluster can add it there"
        )


def said_by(namespace: Namespace) -> frozenset[str] | None:
    """The workspaces that the annotation names; None without one."""
    text = namespace.metadata.annotations.get(TAKES_ANNOTATION)
    return None if text is None else frozenset(word.strip() for word in text.split(",") if word.strip())

"""Whose installs a namespace takes. Pure.

A target may name any namespace, and what is written there decides where its pods pull from. So those who may change namespaces
(not even `admin` in one may) say whose installs one takes, by the annotation `registry.akua.dev/workspaces`. A namespace without
it takes none, unless the setting AKUA_TARGET_NAMESPACES is `any`. A reserved namespace never takes any.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry_access.model.resources import Namespace
from registry_access.model.resources.metadata import RESERVED_NAMESPACES, TAKES_ANNOTATION

ANYBODY = "*"


@dataclass(frozen=True, slots=True)
class Admittance:
    """`unannotated`: whether a namespace without the annotation takes installs. `temporary`: whether that is a setting to be
    changed, so that installs say where they would be withdrawn.
    """

    unannotated: bool = True
    temporary: bool = False

    def takes(self, namespace: Namespace, workspace: str) -> bool:
        if namespace.is_reserved:
            return False
        named = named_by(namespace)
        if named is None:
            # A workspace's own namespace is its members' already.
            return self.unannotated or namespace.metadata.name == workspace
        return workspace in named or ANYBODY in named

    def refusal(self, name: str, namespace: Namespace | None, workspace: str) -> str:
        """Why the namespace `name` takes nothing of `workspace`, and the way out; "" when it does. None: it is not known."""
        if name in RESERVED_NAMESPACES:
            return f"namespace {name} is reserved, its pods are never rewritten; remove it from spec.targets"
        if namespace is None:
            if self.unannotated or name == workspace:
                return ""
            return (
                f"namespace {name} does not exist; it takes installs of workspace {workspace} once it exists with the annotation "
                f"{TAKES_ANNOTATION}={workspace}"
            )
        if self.takes(namespace, workspace):
            return ""
        why = "does not name it" if named_by(namespace) is not None else "is missing"
        return (
            f"namespace {name} takes no installs of workspace {workspace}: its annotation {TAKES_ANNOTATION} {why}; a cluster "
            f"administrator can add it (kubectl annotate namespace {name} {TAKES_ANNOTATION}={workspace})"
        )

    def reminder(self, namespace: Namespace | None, workspace: str) -> str:
        """What would be withdrawn if the setting were changed; "" for nothing."""
        if not self.temporary or namespace is None or Admittance(False).takes(namespace, workspace):
            return ""
        name = namespace.metadata.name
        return (
            f"namespace {name} takes this install only because AKUA_TARGET_NAMESPACES is any; before you change that, run "
            f"kubectl annotate namespace {name} {TAKES_ANNOTATION}={workspace}"
        )


def named_by(namespace: Namespace) -> frozenset[str] | None:
    """The workspaces that the annotation names; None without one."""
    text = namespace.metadata.annotations.get(TAKES_ANNOTATION)
    return None if text is None else frozenset(word.strip() for word in text.split(",") if word.strip())

"""Workspaces and their contents."""

from __future__ import annotations

from dataclasses import dataclass

from control.session import CLI_MANAGER, workspace_manifest, workspaces
from registry_access.model.resources import Resource
from registry_access.state.index import ResourceIndex
from registry_access.state.interface import StateStore


@dataclass(frozen=True, slots=True)
class WorkspaceSummary:
    """How many of each a workspace has. `problem` says why a namespace with resources is not a workspace; "" if it is one."""

    name: str
    credentials: int
    products: int
    installs: int
    problem: str = ""


async def apply_workspace(store: StateStore, name: str) -> Resource:
    """Creates a workspace, or turns an existing namespace into one. Raises InvalidInput and StateError."""
    return await store.apply(workspace_manifest(name), manager=CLI_MANAGER)


def summaries(index: ResourceIndex) -> list[WorkspaceSummary]:
    """By name."""
    return [
        WorkspaceSummary(
            name,
            sum(item.workspace == name for item in index.all_credentials()),
            sum(item.workspace == name for item in index.products()),
            sum(item.workspace == name for item in index.installs()),
            index.workspace_problem(name),
        )
        for name in workspaces(index)
    ]

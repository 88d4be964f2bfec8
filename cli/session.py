"""The invocation, session and workspace that a command works on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer

from control.session import Session, opened, workspaces
from programs.invocation import Invocation
from registry_access.model.errors import InvalidInput, NotFound
from registry_access.state.index import ResourceIndex

DEFAULT_WORKSPACE = "default"
T = TypeVar("T")


def invocation(context: typer.Context) -> Invocation:
    """The invocation that the command belongs to."""
    found = context.find_root().obj
    return found if isinstance(found, Invocation) else Invocation()


def with_session(
    context: typer.Context,
    workspace: str,
    work: Callable[[Session], Coroutine[Any, Any, T]],
    *,
    creating: bool = False,
    provisioned: bool = False,
) -> T:
    """Runs `work` on the state that the settings name. `creating`: the workspace may be new.

    `provisioned` also reads what the install sync wrote to target namespaces, which only administrators may see.
    """
    settings = invocation(context).settings()

    async def run() -> T:
        async with opened(settings, workspace, provisioned=provisioned) as store:
            name = _workspace(store.index, workspace, creating=creating)
            return await work(Session(settings, store, name, name in getattr(store, "sealed", ())))

    return asyncio.run(run())


def _workspace(index: ResourceIndex, given: str, *, creating: bool) -> str:
    """The named workspace, or the only one. Raises InvalidInput, NotFound."""
    known = workspaces(index)
    if given:
        if given not in known and not creating:
            there = f"; known workspaces: {', '.join(known)}" if known else ""
            raise NotFound(f"workspace {given} does not exist{there}")
        return given
    if len(known) > 1:
        raise InvalidInput(
            f"is required because there are several: {', '.join(known)}",
            field="--workspace",
            remedy="pass one, or set AKUA_WORKSPACE",
        )
    return known[0] if known else DEFAULT_WORKSPACE

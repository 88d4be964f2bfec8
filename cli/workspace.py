"""`akua workspace`: the owners of credentials, products and installs."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

import typer

from cli.session import invocation
from cli.terminal.options import Output, OutputOption
from cli.terminal.presentation import done, show_json, show_rows
from control.session import opened
from control.workspaces import WorkspaceSummary, apply_workspace, summaries

workspace_app = typer.Typer(help="Owners of credentials, products and installs: labelled namespaces.", no_args_is_help=True)


@workspace_app.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The workspace's name; a namespace.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a workspace, or turn an existing namespace into one.

    Example: akua workspace create acme
    """
    settings = invocation(context).settings()

    async def work() -> dict[str, object]:
        async with opened(settings) as store:
            return (await apply_workspace(store, name)).to_manifest()

    done(output, asyncio.run(work()), f"workspace {name} is ready")


@workspace_app.command("list")
def list_(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """List the workspaces and their contents, and namespaces with credentials or installs that are not workspaces."""
    settings = invocation(context).settings()

    async def work() -> list[dict[str, Any]]:
        async with opened(settings) as store:
            return [_shown(summary) for summary in summaries(store.index)]

    found = asyncio.run(work())
    if output is Output.JSON:
        show_json(found)
        return
    columns = ("name", "credentials", "products", "installs", *(["problem"] if any("problem" in item for item in found) else []))
    rows = [tuple(str(item.get(column, "")) for column in columns) for item in found]
    show_rows(columns, rows, empty="no workspaces yet; run `akua workspace create NAME` to create one")


def _shown(summary: WorkspaceSummary) -> dict[str, Any]:
    """A healthy workspace has no problem to show."""
    return {name: value for name, value in asdict(summary).items() if name != "problem" or value}

"""`akua install sync`: reconcile installs now, and rewrite even objects that look right."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.install.progress import sync_progress
from cli.session import with_session
from cli.terminal.options import Output, OutputOption, WorkspaceOption
from cli.terminal.presentation import show_json, show_rows
from control.install.answers import sync_failure, sync_outcome
from control.install.sync import sync_installs
from control.session import Session
from registry_access.model.errors import InvalidInput
from registry_access.model.resources import Install


def sync(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="The installs to sync; or use --all.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Sync every install of the workspace.")] = False,
    patience: Annotated[float, typer.Option("--patience", min=1, help="Give up after this many seconds without an answer.")] = 60,
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Reconcile installs now, rewrite their pull grants and pull Secrets, and report the result.

    In a cluster this requests a sync with the annotation registry.akua.dev/sync-requested, which you can also set with kubectl,
    and waits for the answer. With state in a folder this command syncs by itself. Exits with 1 if a target could not be written.

    Example: akua install sync --all
    """
    if bool(names) is everything:
        raise InvalidInput("name the installs, or pass --all", field="install sync")

    async def work(session: Session) -> list[Install]:
        chosen = [session.install(name) for name in names or []] or session.installs()
        with sync_progress(len(chosen)) as progress:
            return await sync_installs(session, chosen, progress, everything=everything, patience=patience)

    found = with_session(context, workspace, work)
    if output is Output.JSON:
        show_json([item.to_manifest() for item in found])
    else:
        show_rows(("install", "namespace", "outcome"), [row for item in found for row in _rows(item)], empty="no installs yet")
    if any(sync_failure(item) for item in found):
        raise typer.Exit(1)


def _rows(install: Install) -> list[tuple[str, str, str]]:
    name, targets = install.metadata.name, install.status.targets
    if not targets or (sync_failure(install) and all(target.synced for target in targets)):
        return [(name, "-", sync_outcome(install))]
    return [(name, target.namespace, "synced" if target.synced else target.message) for target in targets]

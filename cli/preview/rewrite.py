"""`akua rewrite`: shows how admission would rewrite pods, without a cluster and without changing anything."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.session import invocation
from cli.terminal.options import Output, OutputOption
from cli.terminal.presentation import remark, show_json
from control.preview.rewritten_manifests import RewrittenManifests
from control.session import opened
from registry_access.model.errors import InvalidInput
from registry_access.model.resources import Kind


def rewrite(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="YAML manifests. Default: standard input.", show_default=False)] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="The namespace of objects that do not name one.")
    ] = "default",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show manifests with the images that admission would give their pods. All other text stays the same, byte for byte.

    Finds pods, lists, workloads and every other object with a pod template. With `-o json` the documents are shown as
    admission leaves the pods, including pull Secrets and annotations. The pull grants come from the state, so run
    `akua install sync` first. Warnings go to standard error.

    Example: akua rewrite -n shop-prod deployment.yaml | diff deployment.yaml -
    """
    source = str(file or "standard input")
    try:
        manifests = RewrittenManifests(_read(file), namespace)
        shown: Any = asyncio.run(_rewritten(context, manifests, output))
    except InvalidInput as error:
        if error.field:
            raise
        raise InvalidInput(error.problem, field=source, remedy=error.remedy) from error
    for warning in manifests.warnings:
        remark(f"warning: {warning}")
    if output is Output.JSON:
        show_json(shown)
    else:
        sys.stdout.write(shown)


async def _rewritten(context: typer.Context, manifests: RewrittenManifests, output: Output) -> str | list[Any]:
    places = manifests.namespaces
    only = next(iter(places)) if len(places) == 1 else ""
    async with opened(invocation(context).settings(), only, kinds={Kind.PULL_GRANT}) as store:
        grants = store.index.grants
        return manifests.documents(grants) if output is Output.JSON else manifests.text(grants)


def _read(file: Path | None) -> str:
    """The text unchanged, including its line endings."""
    try:
        return (file.read_bytes() if file else sys.stdin.buffer.read()).decode("utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"is not UTF-8 (byte {error.start})", remedy="save it as UTF-8") from error

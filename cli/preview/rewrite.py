"""`akua rewrite`: what admission would make of pods, without a cluster and without changing anything."""

from __future__ import annotations

import asyncio
import copy
import sys
from pathlib import Path
from typing import Annotated, Any

import jsonpatch
import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cli.session import invocation
from cli.terminal.options import Output, OutputOption
from cli.terminal.presentation import remark, show_json
from control.session import opened
from registry_access.model.errors import InvalidInput
from registry_access.model.resources import Kind
from registry_access.state.index import ResourceIndex
from webhook.admission.rewriting import rewrite_pod

# Where a workload's pods are described (apps/v1, batch/v1).
_TEMPLATES = (("spec", "template"), ("spec", "jobTemplate", "spec", "template"))


def rewrite(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="YAML manifests; none: standard input.", show_default=False)] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The namespace of what states none.")] = "default",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show manifests as their pods would be after admission: pods, and workloads by their pod template.

    The pull grants are those of the state, so `akua install sync` must have written them. Warnings go to standard error.

    Example: akua rewrite -n shop-prod deployment.yaml | diff deployment.yaml -
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    try:
        documents = list(yaml.load_all(file.read_text("utf-8") if file else sys.stdin.read()))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot be read: {error}", field=str(file or "standard input")) from error
    except YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f" (line {place.line + 1})" if place else ""
        raise InvalidInput(f"is not YAML{line}", field=str(file or "standard input")) from error

    settings = invocation(context).settings()
    places = {_place(document, namespace) for document in documents}

    async def work() -> list[Any]:
        async with opened(settings, places.pop() if len(places) == 1 else "", kinds={Kind.PULL_GRANT}) as store:
            return [_rewritten(document, namespace, store.index) for document in documents if document is not None]

    shown = asyncio.run(work())
    if output is Output.JSON:
        show_json(shown)
    else:
        yaml.dump_all(shown, sys.stdout)


def _place(document: Any, namespace: str) -> str:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    return (metadata.get("namespace") if isinstance(metadata, dict) else None) or namespace


def _rewritten(document: Any, namespace: str, grants: ResourceIndex) -> Any:
    result = copy.deepcopy(document)
    if not isinstance(result, dict):
        return result
    place = _place(document, namespace)
    if result.get("kind") == "Pod":
        return _admitted(result, place, grants)
    for *path, last in _TEMPLATES:
        holder: Any = result
        for step in path:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and isinstance(holder.get(last), dict):
            holder[last] = _admitted(holder[last], place, grants)
            break
    return result


def _admitted(pod: dict[str, Any], namespace: str, grants: ResourceIndex) -> Any:
    rewriting = rewrite_pod(pod, {}, "CREATE", "", grants.grants(namespace))
    for warning in rewriting.warnings:
        remark(f"warning: {warning}")
    return jsonpatch.apply_patch(pod, rewriting.operations)

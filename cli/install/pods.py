"""`akua install pods` and `akua credential usage`: which pods still run images pulled through an install or with a credential."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from cli.session import invocation, with_session
from cli.terminal.options import Output, OutputOption, WorkspaceOption
from cli.terminal.presentation import Cell, remark, show_json, show_rows
from control.credential.coverage import images_opened_by
from control.install.lifecycle import MAY_PULL, install_state
from control.install.pod_search import FoundPod, Search, no_cluster, search_pods
from control.session import Session
from registry_access.model.resources import Install, Kind
from webhook.attribution import PulledImage, PullingPod

NameArgument = Annotated[str, typer.Argument(help="The install's name; it may be deleted.")]
CredentialArgument = Annotated[str, typer.Argument(help="The credential's name.")]
EverywhereOption = Annotated[
    bool, typer.Option("--everywhere", help="Search all namespaces, including those that are no longer targets.")
]
Row = tuple[FoundPod, Sequence[PulledImage]]


def pods(
    context: typer.Context,
    name: NameArgument,
    everywhere: EverywhereOption = False,
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List the pods that run images pulled through an install, and whether it may still pull.

    Pods keep running after a revocation; this lists those that could not start again. Exits with 1 if part of the search failed,
    and with 2 if there is no cluster to search.

    Example: akua install pods shop
    """
    _refuse_a_folder(context)

    async def work(session: Session) -> tuple[Search, list[Row], str]:
        install = session.index.get(session.key(Kind.INSTALL, name))
        known = [install] if isinstance(install, Install) else []
        search = await search_pods(session, known, lambda pod: name in pod.installs, everywhere=everywhere or not known)
        rows: list[Row] = [(found, found.pod.images) for found in search.pods]
        if not rows and not known:
            session.install(name)  # the error lists the installs
        return search, rows, install_state(session, name)

    search, rows, state = with_session(context, workspace, work)
    if output is Output.JSON:
        show_json({"install": name, "state": state, "pods": [_document(found, images) for found, images in rows]})
    else:
        _show(rows, (), lambda _: (), f"no pod runs an image pulled through install {name}")
        if rows and state != MAY_PULL:
            remark(f"install {name} is {state}: these pods keep running, but their next pull will be refused")
    _end(search)


def usage(
    context: typer.Context,
    name: CredentialArgument,
    everywhere: EverywhereOption = False,
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List the pods whose images are pulled with a credential: it must be the longest match for the image.

    Exit code 1 when not everywhere could be looked, and with 2 if there is no cluster to search.

    Example: akua credential usage ghcr
    """
    _refuse_a_folder(context)

    async def work(session: Session) -> tuple[Search, list[Row], dict[str, str], bool]:
        credential = session.credential(name)
        opened: Callable[[PullingPod], list[PulledImage]] = lambda pod: images_opened_by(session, name, pod.images)  # noqa: E731
        search = await search_pods(session, session.installs(), lambda pod: bool(opened(pod)), everywhere=everywhere)
        rows: list[Row] = [(found, opened(found.pod)) for found in search.pods]
        states = {install: install_state(session, install) for found, _ in rows for install in found.pod.installs}
        return search, rows, states, credential.disabled

    search, rows, states, disabled = with_session(context, workspace, work)
    if output is Output.JSON:
        documents = [
            {**_document(found, images), "installs": {install: states[install] for install in sorted(found.pod.installs)}}
            for found, images in rows
        ]
        show_json({"credential": name, "disabled": disabled, "pods": documents})
    else:
        said: Callable[[FoundPod], Sequence[Cell]] = lambda found: (_installs(found.pod.installs, states),)  # noqa: E731
        _show(rows, ("install",), said, f"no pod runs an image that credential {name} opens")
        if rows and disabled:
            remark(f"credential {name} is disabled: these pods keep running, but their next pull will be refused")
    _end(search)


def _show(rows: Sequence[Row], more: Sequence[str], of: Callable[[FoundPod], Sequence[Cell]], empty: str) -> None:
    remote = ("cluster",) if any(found.cluster for found, _ in rows) else ()
    columns = (*remote, "namespace", "pod", "owner", "node", "phase", "image", *more)
    cells = [
        (
            *((found.cluster or "this one",) if remote else ()),
            found.pod.namespace,
            found.pod.name,
            found.pod.owner or "-",
            found.pod.node or "-",
            found.pod.phase,
            [image.written for image in images],
            *of(found),
        )
        for found, images in rows
    ]
    show_rows(columns, cells, empty=empty)


def _installs(names: Collection[str], states: dict[str, str]) -> Cell:
    lines = [(name, states[name]) for name in sorted(names)]
    return [name if state == MAY_PULL else Text(f"{name} ({state})", "red") for name, state in lines]


def _document(found: FoundPod, images: Sequence[PulledImage]) -> dict[str, Any]:
    pod = found.pod
    return {
        "cluster": found.cluster,
        "namespace": pod.namespace,
        "pod": pod.name,
        "owner": pod.owner,
        "node": pod.node,
        "phase": pod.phase,
        "images": [image.written for image in images],
    }


def _end(search: Search) -> None:
    for problem in search.problems:
        remark(f"akua: {problem}")
    if search.problems:
        raise typer.Exit(1)


def _refuse_a_folder(context: typer.Context) -> None:
    if not invocation(context).settings().in_cluster:
        raise no_cluster()

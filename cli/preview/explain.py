"""`akua explain`: evaluates the gates of a pull now, one line each."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cli.session import with_session
from cli.terminal.options import Output, OutputOption, WorkspaceOption
from cli.terminal.presentation import console, show_json
from control.explanation import NOT_ASKED, as_document, explain_pull
from control.session import Session
from registry_access.model.decision import Decision, Gate
from registry_access.model.names.image_reference import ImageReference
from registry_access.model.printable import printable
from registry_access.model.resources import Condition

REFUSED_EXIT = 3


def explain(
    context: typer.Context,
    install: Annotated[str, typer.Argument(help="The install that would pull.")],
    image: Annotated[str, typer.Argument(help="The image, as written in a pod or as rewritten.")],
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show gate by gate whether an install may pull an image now, and if not, why and what to do.

    Exits with 0 if it may, and with 3 if a gate refuses. Only a real pull evaluates the last two gates. In a cluster you can run
    it in the it in the proxy's pod: `kubectl -n akua-system exec deploy/akua-proxy -- akua explain ...`.

    Examples:

      akua explain shop ghcr.io/acme/storefront:1.4

      akua explain shop oci.akua.dev/ghcr.io/acme/billing -o json
    """

    async def work(session: Session) -> tuple[Decision, ImageReference | None, Condition | None]:
        return explain_pull(session, install, image)

    decision, upstream, answered = with_session(context, workspace, work)
    if output is Output.JSON:
        show_json(as_document(decision, install, image, upstream, answered))
    else:
        to = console()
        to.print(gates(decision, answered))
        to.print(verdict(decision, install, str(upstream or image), answered))
    if not decision.allowed:
        raise typer.Exit(REFUSED_EXIT)


def gates(decision: Decision, answered: Condition | None = None) -> Table:
    """A decision for people: every gate in order, including unevaluated ones. `answered` is the upstream's last answer."""
    asked = {result.gate: result for result in decision.results}
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for number, gate in enumerate(Gate, 1):
        result = asked.get(gate)
        if result is None:
            said = NOT_ASKED.get(gate, "") if decision.allowed else "not asked"
            if gate is Gate.UPSTREAM and answered is not None:
                said = _last(answered)
            table.add_row(Text("·", "dim"), Text(f"{number} {gate}", "dim"), Text(said, "dim"))
        elif result.passed:
            table.add_row(Text("✓", "green"), f"{number} {gate}", Text(printable(result.detail)))
        else:
            detail = Text.assemble((str(result.reason), "bold red"), f": {printable(result.detail)}")
            table.add_row(Text("✗", "bold red"), Text(f"{number} {gate}", "bold red"), detail)
    return table


def verdict(decision: Decision, install: str, image: str, answered: Condition | None = None) -> Text:
    if decision.allowed and answered is not None and answered.status == "False":
        ours = Text.assemble("our gates let install ", (install, "bold"), " pull ", (image, "bold"))
        return ours.append_text(Text.assemble(", but the last pull ", ("failed", "bold red"), " at the upstream: see gate 8"))
    allowed = ("may pull", "green") if decision.allowed else ("may not pull", "bold red")
    return Text.assemble("install ", (install, "bold"), " ", allowed, " ", (image, "bold"))


def _last(answered: Condition) -> str:
    since = f" since {answered.last_transition_time:%Y-%m-%d %H:%M}Z" if answered.last_transition_time else ""
    return f"opened by pulls{since}" if answered.status == "True" else f"failing{since}: {answered.message}"

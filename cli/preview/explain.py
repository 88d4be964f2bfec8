"""`akua explain`: the gates that a pull goes through, asked now, one line each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cli.session import with_session
from cli.terminal.options import Output, OutputOption, WorkspaceOption
from cli.terminal.presentation import console, show_json
from control.session import Session
from proxy.gates import authorization
from proxy.gates.authorization import InstallIdentity, Moment
from registry_access.model.decision import Decision, Gate, GateResult, Reason, new_decision_id, passed
from registry_access.model.names.image_reference import ImageReference
from registry_access.model.names.proxied_reference import Unchanged, UnchangedReason, from_proxied, to_proxied
from registry_access.model.resources import Install
from registry_access.settings import Settings
from registry_access.state.index import ResourceIndex

REFUSED_EXIT = 3
_NOT_ASKED = {
    Gate.AUDIT: "asked by every pull: is the intent in the audit trail?",
    Gate.UPSTREAM: "asked by every pull; `akua credential test` asks now",
}


def explain(
    context: typer.Context,
    install: Annotated[str, typer.Argument(help="The install that would pull.")],
    image: Annotated[str, typer.Argument(help="The image, as written in a pod or as rewritten.")],
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Say gate by gate whether an install may pull an image now, and if not, why and what to do.

    Exit code 0: it may; 3: a gate refuses. The last two gates are only asked by a real pull. In a cluster it can be asked in the
    proxy's pod: `kubectl -n akua-system exec deploy/akua-proxy -- akua explain ...`.

    Examples:

      akua explain shop ghcr.io/acme/storefront:1.4

      akua explain shop oci.akua.dev/ghcr.io/acme/billing -o json
    """

    async def work(session: Session) -> tuple[Decision, ImageReference | None]:
        found = session.install(install)
        for credential in session.credentials() if session.sealed else ():
            session.value_of(credential)  # gate 5 would be answered wrongly
        return decide(session.index, found, image, session.settings)

    decision, upstream = with_session(context, workspace, work)
    if output is Output.JSON:
        show_json(as_document(decision, install, image, upstream))
    else:
        to = console()
        to.print(gates(decision))
        to.print(verdict(decision, install, str(upstream or image)))
    if not decision.allowed:
        raise typer.Exit(REFUSED_EXIT)


def decide(index: ResourceIndex, install: Install, image: str, settings: Settings) -> tuple[Decision, ImageReference | None]:
    """Gates 1 to 6 for a token that the install would get now, and the upstream image meant. The state was just read."""
    decision = Decision(new_decision_id(), ())
    upstream = from_proxied(image, settings.host)
    if upstream is None:
        proxied = to_proxied(image, settings.host)
        if isinstance(proxied, Unchanged):
            said = "it names no repository at the proxy" if proxied.reason is UnchangedReason.ALREADY_PROXIED else proxied.detail
            return decision.extended(GateResult(Gate.PATH, Reason.PATH_INVALID, said)), None
        upstream = proxied.upstream
    decision = decision.extended(passed(Gate.PATH, str(upstream)), passed(Gate.TOKEN, "a current token of this install"))
    identity = InstallIdentity(install.workspace, install.metadata.name, install.metadata.uid, install.token_generation)
    moment = Moment(datetime.now(UTC), 0.0, settings.staleness_limit)
    return authorization.explain(decision, identity, upstream.registry, upstream.repository, index, moment), upstream


def as_document(decision: Decision, install: str, image: str, upstream: ImageReference | None) -> dict[str, object]:
    """A decision for scripts."""
    refusal = decision.refusal
    asked = {result.gate: result for result in decision.results}
    return {
        "install": install,
        "image": image,
        "upstream": str(upstream) if upstream else "",
        "allowed": decision.allowed,
        "gate": str(refusal.gate) if refusal else "",
        "reason": str(refusal.reason) if refusal else "",
        "detail": refusal.detail if refusal else "",
        "gates": [_gate(gate, asked.get(gate)) for gate in Gate],
    }


def gates(decision: Decision) -> Table:
    """A decision for people: every gate in order, those that were not asked too."""
    asked = {result.gate: result for result in decision.results}
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for number, gate in enumerate(Gate, 1):
        result = asked.get(gate)
        if result is None:
            said = _NOT_ASKED.get(gate, "") if decision.allowed else "not asked"
            table.add_row(Text("·", "dim"), Text(f"{number} {gate}", "dim"), Text(said, "dim"))
        elif result.passed:
            table.add_row(Text("✓", "green"), f"{number} {gate}", Text(result.detail))
        else:
            detail = Text.assemble((str(result.reason), "bold red"), f": {result.detail}")
            table.add_row(Text("✗", "bold red"), Text(f"{number} {gate}", "bold red"), detail)
    return table


def verdict(decision: Decision, install: str, image: str) -> Text:
    allowed = ("may pull", "green") if decision.allowed else ("may not pull", "bold red")
    return Text.assemble("install ", (install, "bold"), " ", allowed, " ", (image, "bold"))


def _gate(gate: Gate, result: GateResult | None) -> dict[str, str]:
    outcome = "not-asked" if result is None else "passed" if result.passed else "refused"
    return {
        "gate": str(gate),
        "outcome": outcome,
        "reason": str(result.reason) if result else "",
        "detail": result.detail if result else "",
    }

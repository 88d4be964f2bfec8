"""`akua audit`: who pulled what, when, and why not."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from cli.session import invocation
from cli.terminal.options import Output, OutputOption
from cli.terminal.presentation import console, remark, show_json, show_rows
from registry_access.audit.interface import AuditQuery, AuditRow
from registry_access.audit.trail import sql_trail
from registry_access.model.audit_event import AuditEvent, Operation, Result
from registry_access.model.errors import InvalidInput

if TYPE_CHECKING:
    from registry_access.audit.sql.trail import SqlAuditTrail

audit_app = typer.Typer(no_args_is_help=True, help="The audit trail: every pull, allowed or refused, and why.")
_COLOURS = {Result.ALLOWED: "green", Result.REFUSED: "red", Result.FAILED: "yellow", Result.CUT: "magenta"}
_COLUMNS = ("time", "install", "operation", "image", "result", "reason", "bytes", "who")
_AGENT_MAXIMUM = 40
_AGO = re.compile(r"(\d+)([smhd])", re.ASCII)
_PAGE = 1000

InstallOption = Annotated[str, typer.Option("--install", "-i", help="Only this install's.", show_default=False)]
WorkspaceFilter = Annotated[str, typer.Option("--workspace", "-w", help="Only this workspace's.", show_default=False)]
RegistryOption = Annotated[str, typer.Option("--registry", help="Only this upstream registry's.", show_default=False)]
RepositoryOption = Annotated[str, typer.Option("--repository", help="Only this repository's.", show_default=False)]
OperationOption = Annotated[
    Operation | None, typer.Option("--operation", help="Only this: pull-manifest, pull-blob, admission ...", show_default=False)
]
DecisionOption = Annotated[
    str, typer.Option("--decision", "-d", help="Only this decision's, as kubelet and events quote it.", show_default=False)
]
ResultOption = Annotated[Result | None, typer.Option("--result", "-r", help="Only these results.", show_default=False)]
SinceOption = Annotated[str, typer.Option("--since", help="24h, 7d, or an RFC 3339 time.", show_default=False)]
UntilOption = Annotated[str, typer.Option("--until", help="24h, 7d, or an RFC 3339 time.", show_default=False)]


class ExportFormat(StrEnum):
    JSON = "json"
    CSV = "csv"


@audit_app.command("list")
def list_rows(
    context: typer.Context,
    install: InstallOption = "",
    workspace: WorkspaceFilter = "",
    registry: RegistryOption = "",
    repository: RepositoryOption = "",
    operation: OperationOption = None,
    decision: DecisionOption = "",
    result: ResultOption = None,
    since: SinceOption = "",
    until: UntilOption = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """List what was pulled and what was refused, newest first, beside the pods that were admitted to pull it.

    `who` is the node's address and the client of a pull, the pod and its controller of an admission.

    Examples:

      akua audit list --install shop --result refused --since 24h

      akua audit list --decision dec_0123456789abcdef
    """
    query = AuditQuery(
        workspace=workspace,
        install=install,
        registry=registry,
        repository=repository,
        operation=str(operation or ""),
        decision=decision,
        result=result,
        since=_moment(since, "--since"),
        until=_moment(until, "--until"),
        limit=limit,
    )

    async def work() -> tuple[AuditRow, ...]:
        async with _trail(context) as trail:
            return (await trail.query(query)).rows

    rows = asyncio.run(work())
    if output is Output.JSON:
        show_json([flat(row) for row in rows])
    else:
        show_rows(_COLUMNS, [_cells(row) for row in rows], empty="nothing was pulled or refused yet, or nothing that fits")


@audit_app.command()
def tail(
    context: typer.Context,
    install: InstallOption = "",
    workspace: WorkspaceFilter = "",
    result: ResultOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show pulls and refusals as they happen, until interrupted. With --output json: one object a line."""
    query = AuditQuery(workspace=workspace, install=install, result=result)

    async def work() -> None:
        async with _trail(context) as trail:
            async for row in trail.follow(query):
                if output is Output.JSON:
                    sys.stdout.write(json.dumps(flat(row)) + "\n")
                    sys.stdout.flush()
                else:
                    console().print(Text("  ").join(cell if isinstance(cell, Text) else Text(cell) for cell in _cells(row)))

    asyncio.run(work())


@audit_app.command()
def verify(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Prove that no record was edited, removed, inserted or moved. Exits with 1 when one was.

    Keep the heads that it prints somewhere else: they prove later that nothing was cut off the end.
    """

    async def work() -> dict[str, Any]:
        async with _trail(context) as trail:
            report = await trail.verify(lambda checked: remark(f"{checked:,} records") if checked % 100_000 == 0 else None)
            return {"ok": report.ok, **asdict(report), "heads": await trail.heads()}

    report = asyncio.run(work())
    if output is Output.JSON:
        show_json(report)
    elif report["ok"]:
        console().print(Text.assemble(("✓ ", "green"), f"{report['records']:,} records, every one in its chain"))
        for writer, head in report["heads"].items():
            console().print(f"  head of {writer}: {head}")
    else:
        console().print(Text.assemble(("✗ ", "red"), f"record {report['first_bad']}: {report['problem']}"))
    if not report["ok"]:
        raise typer.Exit(1)


@audit_app.command()
def export(
    context: typer.Context,
    install: InstallOption = "",
    workspace: WorkspaceFilter = "",
    since: SinceOption = "",
    until: UntilOption = "",
    form: Annotated[
        ExportFormat, typer.Option("--format", help="json: one object a line; csv: with a header.")
    ] = ExportFormat.JSON,
) -> None:
    """Write all rows that fit to standard output, newest first.

    akua audit export --since 7d --format csv > pulls.csv
    """
    query = AuditQuery(
        workspace=workspace, install=install, since=_moment(since, "--since"), until=_moment(until, "--until"), limit=_PAGE
    )

    async def work() -> None:
        writer: Any = None
        async with _trail(context) as trail:
            async for row in _every(trail, query):
                if form is ExportFormat.JSON:
                    sys.stdout.write(json.dumps(flat(row)) + "\n")
                    continue
                if writer is None:
                    writer = csv.DictWriter(sys.stdout, list(flat(row)))
                    writer.writeheader()
                writer.writerow(flat(row))

    asyncio.run(work())


def flat(row: AuditRow) -> dict[str, Any]:
    """A row as scripts get it: event and outcome as one object; the outcome's members are null while it is under way."""
    event, outcome = row.event, row.outcome
    return {
        "sequence": row.sequence,
        "time": datetime.fromtimestamp(event.time / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "event_id": event.id,
        "decision_id": event.decision_id,
        "workspace": event.workspace,
        "install": event.install,
        "operation": str(event.operation),
        "registry": event.registry,
        "repository": event.repository,
        "reference": event.reference,
        "result": str(outcome.result) if outcome else None,
        "gate": outcome.gate if outcome else None,
        "reason": outcome.reason if outcome else None,
        "detail": outcome.detail if outcome else None,
        "status": outcome.status if outcome else None,
        "digest": outcome.digest if outcome else None,
        "bytes": outcome.bytes if outcome else None,
        "duration_ms": outcome.duration if outcome else None,
        "credential": outcome.credential if outcome else None,
        "client_address": event.client_address,
        "user_agent": event.user_agent,
        "install_uid": event.install_uid,
        "token_id": event.token_id,
        "pod": event.pod,
        "owner": event.owner,
    }


def _cells(row: AuditRow) -> list[str | Text]:
    event, outcome = row.event, row.outcome
    reference = event.reference[:19] + "…" if event.reference.startswith("sha256:") else event.reference
    separator = "@" if event.reference.startswith("sha256:") else ":"
    image = f"{event.registry}/{event.repository}{separator if reference else ''}{reference}" if event.registry else "-"
    return [
        datetime.fromtimestamp(event.time / 1000).astimezone().strftime("%m-%d %H:%M:%S"),
        event.install or "-",
        str(event.operation),
        image,
        _result(row),
        # Whoever looks for a refusal has its decision from kubelet, an event or a log line.
        f"{outcome.reason} {event.decision_id}" if outcome and outcome.reason else "-",
        f"{outcome.bytes:,}" if outcome and outcome.bytes else "-",
        _who(event),
    ]


def _result(row: AuditRow) -> Text:
    if row.outcome is None:
        return Text("under way", "dim")
    if row.event.operation is Operation.ADMISSION:
        return Text("admitted", "cyan")
    return Text(str(row.outcome.result), _COLOURS[row.outcome.result])


def _who(event: AuditEvent) -> str:
    if event.operation is Operation.ADMISSION:
        return f"{event.pod} of {event.owner}" if event.owner else event.pod or "-"
    agent = event.user_agent.partition(" ")[0][:_AGENT_MAXIMUM]
    return " ".join(part for part in (event.client_address, agent) if part) or "-"


@asynccontextmanager
async def _trail(context: typer.Context) -> AsyncIterator[SqlAuditTrail]:
    """The trail, opened for reading only. Raises AuditUnavailable where there is none."""
    trail = sql_trail(invocation(context).settings().audit_dsn, read_only=True)
    await trail.start()
    try:
        yield trail
    finally:
        await trail.stop()


async def _every(trail: SqlAuditTrail, query: AuditQuery) -> AsyncIterator[AuditRow]:
    while True:
        page = await trail.query(query)
        for row in page.rows:
            yield row
        if page.next_before is None:
            return
        query = replace(query, before=page.next_before)


def _moment(text: str, option: str) -> int | None:
    """Epoch milliseconds of "24h" (ago) or an RFC 3339 time."""
    if not text:
        return None
    if match := _AGO.fullmatch(text):
        seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
        return int((datetime.now(UTC) - timedelta(seconds=seconds)).timestamp() * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no time", field=option, remedy="write 24h, 7d, or 2027-01-31T00:00:00Z") from None
    return int(moment.astimezone(UTC).timestamp() * 1000)

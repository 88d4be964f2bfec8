"""`akua audit`: who pulled what and when, and why a pull was refused."""

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

from cli.audit.rows import COLUMNS, cells, flat, spreadsheet
from cli.session import invocation, with_session
from cli.terminal.options import Output, OutputOption
from cli.terminal.presentation import console, remark, show_json, show_line, show_rows
from control.audit import where_instead
from registry_access.audit.interface import AuditQuery, AuditRow, VerifyReport
from registry_access.audit.trail import copy_trail, sql_trail
from registry_access.model.audit_event import Operation, Result
from registry_access.model.errors import AuditUnavailable, InvalidInput

if TYPE_CHECKING:
    from registry_access.audit.sql.trail import SqlAuditTrail

audit_app = typer.Typer(no_args_is_help=True, help="The audit trail: every pull, allowed or refused, and why.")
_AGO = re.compile(r"(\d+)([smhd])", re.ASCII)
_PAGE = 1000

InstallOption = Annotated[str, typer.Option("--install", "-i", help="Show only this install.", show_default=False)]
WorkspaceFilter = Annotated[str, typer.Option("--workspace", "-w", help="Show only this workspace.", show_default=False)]
RegistryOption = Annotated[str, typer.Option("--registry", help="Show only this upstream registry.", show_default=False)]
RepositoryOption = Annotated[str, typer.Option("--repository", help="Show only this repository.", show_default=False)]
OperationOption = Annotated[
    Operation | None,
    typer.Option("--operation", help="Show only this: pull-manifest, pull-blob, admission ...", show_default=False),
]
DecisionOption = Annotated[
    str, typer.Option("--decision", "-d", help="Show only this decision id, as kubelet and Events quote it.", show_default=False)
]
ResultOption = Annotated[Result | None, typer.Option("--result", "-r", help="Show only this result.", show_default=False)]
SinceOption = Annotated[str, typer.Option("--since", help="Start: 24h or 7d ago, or an RFC 3339 time.", show_default=False)]
UntilOption = Annotated[str, typer.Option("--until", help="End: 24h or 7d ago, or an RFC 3339 time.", show_default=False)]


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
    """List allowed and refused pulls, newest first, together with the pods that were admitted to make them.

    `who` shows the node address and client of a pull, or the pod and controller of an admission. If you cannot reach the trail,
    pass --workspace with your own workspace to see the refused pulls that the cluster's Events still hold.

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

    settings = invocation(context).settings()
    if workspace and settings.in_cluster and where_instead(settings):
        _list_events(context, workspace, install, output)
        return

    async def work() -> tuple[AuditRow, ...]:
        async with _trail(context) as trail:
            return (await trail.query(query)).rows

    rows = asyncio.run(work())
    if output is Output.JSON:
        show_json([flat(row) for row in rows])
    else:
        show_rows(COLUMNS, [cells(row) for row in rows], empty="no pull or refusal matches")


def _list_events(context: typer.Context, workspace: str, install: str, output: Output) -> None:
    # The Kubernetes adapter is half of what a command needs to start.
    from control.pull_events import pull_events

    remark("the audit trail is in the cluster; these are the refused, failed and cut pulls from Events, which last about an hour")
    found = with_session(context, workspace, lambda session: pull_events(session, install))
    if output is Output.JSON:
        show_json([asdict(each) for each in found])
        return
    columns = ("time", "object", "reason", "count", "note")
    rows = [(each.time, f"{each.kind}/{each.name}", each.reason, str(each.count), each.note) for each in found]
    show_rows(columns, rows, empty="no pull was refused recently")


@audit_app.command()
def tail(
    context: typer.Context,
    install: InstallOption = "",
    workspace: WorkspaceFilter = "",
    result: ResultOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show pulls and refusals as they happen, until interrupted. --output json prints one object per line."""
    query = AuditQuery(workspace=workspace, install=install, result=result)

    async def work() -> None:
        async with _trail(context) as trail:
            async for row in trail.follow(query):
                if output is Output.JSON:
                    sys.stdout.write(json.dumps(flat(row)) + "\n")
                    sys.stdout.flush()
                else:
                    show_line(cells(row))

    asyncio.run(work())


@audit_app.command()
def verify(
    context: typer.Context,
    head: Annotated[
        str, typer.Option("--head", help="NUMBER:HASH from an earlier run, which the register must still contain.")
    ] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Prove that no record was edited, removed, inserted or moved. Exits with 1 if one was.

    Keep the head that it prints in another place. Pass it to a later run as --head to prove that nothing sealed before it was
    cut off or rewritten. --output json also shows the head of every chain.
    """
    kept = _kept(head)

    async def work() -> dict[str, Any]:
        async with _trail(context) as trail:
            report = await trail.verify(lambda checked: remark(f"{checked:,} records") if checked % 100_000 == 0 else None)
            lost = kept is not None and await trail.registered(kept[0]) != kept[1]
            said = {"ok": report.ok and not lost, **asdict(report)}
            if lost:
                said["problem"] = report.problem or f"the register does not hold the head {head}: it was cut off or rewritten"
            return {**said, "heads": await trail.heads()}

    report = asyncio.run(work())
    if output is Output.JSON:
        show_json(report)
    elif report["ok"]:
        chains = f"{report['chains']:,} chain{'' if report['chains'] == 1 else 's'}"
        console().print(Text.assemble(("✓ ", "green"), f"{report['records']:,} records in {chains}, every one in its place"))
        if report["head"]:
            console().print(f"  head of the register: {report['head']}")
    else:
        place = f"record {report['first_bad']}: " if report["first_bad"] else ""
        for problem in (f"{place}{report['problem']}", *report["further"]):
            console().print(Text.assemble(("✗ ", "red"), problem))
    if not report["ok"]:
        raise typer.Exit(1)


@audit_app.command()
def copy(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", help="The target database, postgresql://...; use - to read it from standard input.")],
) -> None:
    """Copy the trail to another database, every record unchanged, and verify it there.

    Run it while the proxy runs, then again after stopping the proxy. The second run copies only the new records.

    akua audit copy --to - < dsn.txt
    """
    target = sys.stdin.readline().strip() if to == "-" else to

    async def work() -> tuple[int, VerifyReport]:
        async with _trail(context) as trail:
            before = await trail.verify()
            if not before.ok:
                raise AuditUnavailable(f"the trail was not copied because it does not verify: {before.problem}")
        source = invocation(context).settings().audit_dsn
        copied = await copy_trail(source, target, lambda count: remark(f"{count:,} records") if count % 100_000 == 0 else None)
        copy = sql_trail(target, read_only=True)
        await copy.start()
        try:
            return copied, await copy.verify()
        finally:
            await copy.stop()

    copied, report = asyncio.run(work())
    if not report.ok:
        raise AuditUnavailable(f"the copy does not verify: {report.problem}")
    console().print(
        Text.assemble(("✓ ", "green"), f"{copied:,} records copied; {report.records:,} there, every one in its place")
    )
    console().print(f"  head of the register: {report.head}")


@audit_app.command()
def export(
    context: typer.Context,
    install: InstallOption = "",
    workspace: WorkspaceFilter = "",
    since: SinceOption = "",
    until: UntilOption = "",
    form: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="json prints one object per line. csv prints a header, and an apostrophe before text that looks like a formula.",
        ),
    ] = ExportFormat.JSON,
) -> None:
    """Write all matching rows to standard output, newest first.

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
                    writer = csv.DictWriter(sys.stdout, list(flat(row)), quoting=csv.QUOTE_NONNUMERIC)
                    writer.writeheader()
                writer.writerow(spreadsheet(flat(row)))

    asyncio.run(work())


@asynccontextmanager
async def _trail(context: typer.Context) -> AsyncIterator[SqlAuditTrail]:
    """The trail, opened for reading only. Raises AuditUnavailable if there is none."""
    settings = invocation(context).settings()
    if absent := where_instead(settings):
        raise AuditUnavailable(absent)
    trail = sql_trail(settings.audit_dsn, read_only=True)
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


def _kept(head: str) -> tuple[int, str] | None:
    """The number and hash of a register head, as `verify` prints it."""
    if not head:
        return None
    match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", head, re.ASCII)
    if match is None:
        raise InvalidInput("is not a head", field="--head", remedy="write NUMBER:HASH, as printed by `akua audit verify`")
    return int(match[1]), match[2]


def _moment(text: str, option: str) -> int | None:
    """Epoch milliseconds for "24h" (ago) or an RFC 3339 time."""
    if not text:
        return None
    if match := _AGO.fullmatch(text):
        seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
        return int((datetime.now(UTC) - timedelta(seconds=seconds)).timestamp() * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a time", field=option, remedy="write 24h, 7d, or 2027-01-31T00:00:00Z") from None
    return int(moment.astimezone(UTC).timestamp() * 1000)

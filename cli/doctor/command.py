"""`akua doctor`: the command and the order of its checks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import chain

import typer
from rich.text import Text

from cli.session import invocation
from cli.terminal.options import Output, OutputOption, WorkspaceOption
from cli.terminal.presentation import show_json, show_rows
from control.doctor.finding import Check, Finding, bad, condensed, good
from control.doctor.machine import certificate_files, name_check, server_checks
from control.doctor.resources import credential_checks, install_checks, label_checks, state_check
from control.doctor.trail import audit_check
from control.session import opened
from programs.invocation import Invocation
from registry_access.model.errors import AkuaError, InvalidSettings
from registry_access.settings import Settings

_MARKS = {Finding.GOOD: ("✓", "green"), Finding.WARNING: ("!", "yellow"), Finding.BAD: ("✗", "red"), Finding.UNSEEN: ("?", "dim")}
_LISTED = 20  # checks of one noun, if all of them are good


def doctor(context: typer.Context, output: OutputOption = Output.TABLE, workspace: WorkspaceOption = "") -> None:
    """Check everything that pulls depend on, from the outside in, and say how to fix what is wrong.

    With state in a folder it checks settings, state, audit trail, certificates, ports, credentials and installs. With
    AKUA_STATE=kubernetes, wherever kubectl works or in a pod, it checks name, route, trust, webhook registration, a trial pod,
    certificates, clocks, rights, freshness, leader, audit trail, credentials and installs. It changes nothing, and reports what
    you have no right to see.

    Exits with 1 if a check is bad.

    Example: AKUA_STATE=kubernetes akua doctor
    """
    checks = asyncio.run(_all(invocation(context), workspace))
    if output is Output.JSON:
        show_json([{"check": item.name, "finding": str(item.finding), "detail": item.detail} for item in checks])
    else:
        rows = [(Text(*_MARKS[item.finding]), item.name, item.detail) for item in condensed(checks, _LISTED)]
        show_rows(("", "check", "finding"), rows, empty="")
    if any(item.finding is Finding.BAD for item in checks):
        raise typer.Exit(1)


async def _all(found: Invocation, workspace: str) -> list[Check]:
    try:
        settings = found.settings()
    except InvalidSettings as error:
        # Everything else depends on them.
        return [bad("settings", str(problem)) for problem in error.problems]
    checks = [good("settings", f"state {settings.state}, host {settings.host}")]
    if settings.state == "kubernetes":
        # Half of a command's start-up time; imported only here.
        from control.doctor.cluster.order import cluster_checks

        return checks + [check async for check in cluster_checks(settings, found.environment, workspace)]
    checks += [check async for check in _state(settings, workspace)]
    checks.append(await audit_check(settings.audit_dsn, settings.audit_capacity))
    checks += certificate_files(settings, found.home)
    checks += [check async for check in server_checks(settings)]
    checks.append(await name_check(settings.host))
    return checks


async def _state(settings: Settings, workspace: str) -> AsyncIterator[Check]:
    try:
        async with opened(settings) as store:
            index = store.index
            yield state_check(index)
            for problem in store.problems():
                yield bad("state", str(problem))
            installs = install_checks(index, workspace, credentials_seen=True)
            for check in chain(label_checks(index, workspace), credential_checks(index, workspace), installs):
                yield check
    except AkuaError as error:
        yield bad("state", str(error))

"""`akua install`: deployments, their tokens, their revocation."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from cli.session import with_session
from cli.terminal.options import Output, OutputOption, WorkspaceOption, YesOption
from cli.terminal.presentation import Cell, age, confirm, done, remark, show_fields, show_json, show_rows
from control.install.lifecycle import (
    NewInstall,
    create_install,
    delete_install,
    entitlement,
    restore_install,
    revoke_install,
    rotate_install,
)
from control.session import Session
from registry_access.model.errors import InvalidInput
from registry_access.model.resources import Install, Key, Kind, Resource
from registry_access.model.resources.install import Standing
from registry_access.model.timestamp import rfc3339
from registry_access.setting_values import duration

install_app = typer.Typer(help="Deployments: the unit of tokens, entitlement, audit and revocation.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(help="The install's name.")]


@install_app.command("create")
def create(
    context: typer.Context,
    name: NameArgument,
    product: Annotated[str, typer.Option("--product", "-p", help="The product that the customer bought.")] = "",
    repositories: Annotated[
        list[str] | None, typer.Option("--repository", "-r", help="registry/repository or registry/prefix/*; may be repeated.")
    ] = None,
    namespaces: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Target namespace; may be repeated.", show_default=False)
    ] = None,
    pods: Annotated[
        list[str] | None, typer.Option("--pods", help="Rewrite only pods with this label, name=value; may be repeated.")
    ] = None,
    expires: Annotated[str, typer.Option("--expires", help="Refuse every pull after this duration (90d) or RFC 3339 time.")] = "",
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Create an install that may pull a product or its own repositories.

    Examples:

      akua install create shop --product storefront --namespace shop-prod

      akua install create trial --repository ghcr.io/acme/storefront --expires 14d
    """
    selector = {"podSelector": {"matchLabels": dict(_label(label) for label in pods)}} if pods else {}
    targets = [{"namespace": namespace, **selector} for namespace in namespaces or []]
    wanted = NewInstall(name, product, repositories or (), targets, _moment(expires))
    unknown = ""

    async def work(session: Session) -> Resource:
        nonlocal unknown
        if product and session.index.get(Key(Kind.PRODUCT, session.workspace, product)) is None:
            unknown = f"product {product} does not exist yet; until it does, every pull of install {name} is refused"
        return await create_install(session, wanted)

    made = with_session(context, workspace, work, creating=True)
    done(output, made.to_manifest(), f"install {name} is created; run `akua install token {name}` to see its token")
    if unknown:
        remark(f"akua: {unknown}")


@install_app.command("list")
def list_(context: typer.Context, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE) -> None:
    """List the workspace's installs, whether each is working, and if not, why."""

    async def work(session: Session) -> list[Install]:
        return session.installs()

    found = with_session(context, workspace, work)
    if output is Output.JSON:
        show_json([item.to_manifest() for item in found])
        return
    rows = [
        (
            item.metadata.name,
            item.product or ", ".join(map(str, item.repositories)),
            ", ".join(_targets(item)) or "-",
            _state(item),
            age(item.status.last_pull_time),
            str(item.status.denied_pulls),
            age(item.metadata.creation_time),
        )
        for item in found
    ]
    columns = ("name", "entitled to", "targets", "state", "last pull", "denied", "age")
    show_rows(columns, rows, empty="no installs yet; run `akua install create` to create one")


@install_app.command("show")
def show(
    context: typer.Context, name: NameArgument, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Show one install: what it may pull, where it runs, its token id and its conditions."""

    async def work(session: Session) -> tuple[Install, list[str]]:
        found = session.install(name)
        return found, entitlement(session, found)

    found, patterns = with_session(context, workspace, work)
    if output is Output.JSON:
        show_json(found.to_manifest() | {"entitlement": patterns})
        return
    status = found.status
    fields: dict[str, Cell] = {
        "Name": name,
        "Workspace": found.workspace,
        "State": _state(found),
        "Product": found.product or "-",
        "May pull": patterns or "nothing",
        "Targets": _targets(found) or "-",
        "Expires": f"{found.expires_at:%Y-%m-%d %H:%M}Z" if found.expires_at else "-",
        "Token": f"{status.token_id}, generation {found.token_generation}" if status.token_id else "not minted yet",
        "Last pull": age(status.last_pull_time),
        "Denied pulls": str(status.denied_pulls),
    }
    for condition in status.conditions:
        fields[condition.type] = f"{condition.status} ({condition.reason}) {condition.message}".rstrip()
    show_fields(fields)


@install_app.command("revoke")
def revoke(
    context: typer.Context, name: NameArgument, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Refuse every pull of this install and cut pulls in progress. Undo with `restore`."""
    made = with_session(context, workspace, lambda session: revoke_install(session, name))
    done(output, made.to_manifest(), f"install {name} is revoked: pulls in progress are cut and new ones are refused")


@install_app.command("restore")
def restore(
    context: typer.Context, name: NameArgument, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Undo a revocation: the same tokens open the same repositories again."""
    made = with_session(context, workspace, lambda session: restore_install(session, name))
    done(output, made.to_manifest(), f"install {name} may pull again")


@install_app.command("rotate")
def rotate(
    context: typer.Context, name: NameArgument, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Immediately invalidate every token of this install. The install sync writes a new one to its pull Secrets."""
    made = with_session(context, workspace, lambda session: rotate_install(session, name))
    done(output, made.to_manifest(), f"install {name} has a new token generation; every older token is refused")


@install_app.command("delete")
def delete(
    context: typer.Context,
    name: NameArgument,
    workspace: WorkspaceOption = "",
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete an install. Its tokens never work again, even if you create an install with the same name."""

    async def work(session: Session) -> None:
        session.install(name)  # report an unknown name before asking for confirmation
        if not yes and sys.stdin.isatty():
            confirm(f"Delete install {name}? Its tokens never work again.")
        await delete_install(session, name)

    with_session(context, workspace, work)
    done(output, {"deleted": name}, f"install {name} is deleted; its pulls are cut and its tokens are invalid")


def _state(found: Install) -> Text:
    standing = found.standing(datetime.now(UTC))
    if standing is not Standing.GOOD:
        return Text(str(standing), "red")
    failing = next((condition for condition in found.status.conditions if condition.status == "False"), None)
    return Text(f"{failing.reason}: {failing.message}", "yellow") if failing else Text("ready", "green")


def _targets(found: Install) -> list[str]:
    return [target.namespace or f"namespaces with {target.namespace_selector}" for target in found.targets]


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidInput(f"{text!r} is not a label", field="--pods", remedy="write name=value")
    return name, value


def _moment(text: str) -> str:
    """An RFC 3339 time, from a duration or a time. Raises InvalidInput."""
    if not text:
        return ""
    try:
        return rfc3339(datetime.now(UTC) + timedelta(seconds=duration(text)))
    except InvalidInput:
        return text  # the resource validates the time

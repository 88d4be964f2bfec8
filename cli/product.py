"""`akua product`: named sets of repositories that a customer can buy."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.session import with_session
from cli.terminal.options import Output, OutputOption, WorkspaceOption, YesOption
from cli.terminal.presentation import age, confirm, done, show_json, show_rows
from control.product import apply_product, delete_product, installs_with
from control.session import Session
from registry_access.model.resources import Product

product_app = typer.Typer(help="Named sets of repositories that a customer can buy.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(help="The product's name.")]


@product_app.command("create")
def create(
    context: typer.Context,
    name: NameArgument,
    repositories: Annotated[list[str], typer.Argument(help="registry/repository, or registry/prefix/* for everything under it.")],
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a product, or replace its repositories.

    Example: akua product create storefront ghcr.io/acme/storefront 'ghcr.io/acme/charts/*'
    """
    made = with_session(context, workspace, lambda session: apply_product(session, name, repositories), creating=True)
    done(output, made.to_manifest(), f"product {name} includes {', '.join(repositories)}")


@product_app.command("list")
def list_(context: typer.Context, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE) -> None:
    """List the workspace's products and the number of installs of each."""

    async def work(session: Session) -> list[tuple[Product, int]]:
        return [(item, len(installs_with(session, item.metadata.name))) for item in session.products()]

    found = with_session(context, workspace, work)
    if output is Output.JSON:
        show_json([item.to_manifest() for item, _ in found])
        return
    rows = [
        (item.metadata.name, ", ".join(map(str, item.repositories)), str(count), age(item.metadata.creation_time))
        for item, count in found
    ]
    show_rows(("name", "repositories", "installs", "age"), rows, empty="no products yet; run `akua product create` to create one")


@product_app.command("delete")
def delete(
    context: typer.Context,
    name: NameArgument,
    workspace: WorkspaceOption = "",
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete a product. Its installs stay, but may no longer pull what only the product gave them."""

    async def work(session: Session) -> list[str]:
        session.product(name)
        users = installs_with(session, name)
        if users and not yes:
            confirm(f"Deleting product {name} ends pulls of its repositories by {', '.join(users)}. Delete it?")
        await delete_product(session, name)
        return users

    users = with_session(context, workspace, work)
    done(output, {"deleted": name, "installs": users}, f"product {name} is deleted")

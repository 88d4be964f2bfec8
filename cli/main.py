"""The `akua` command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from cli.audit.commands import audit_app
from cli.credential.commands import credential_app
from cli.credential.versions import destroy, disable_version, enable_version, pin, rotate, try_, versions
from cli.demo.command import demo
from cli.doctor.command import doctor
from cli.install.commands import install_app
from cli.install.pods import pods, usage
from cli.install.sync import sync
from cli.install.token import bundle, token
from cli.preview.explain import explain
from cli.preview.image import image
from cli.preview.rewrite import rewrite
from cli.product import product_app
from cli.servers import node_trust, proxy, serve, webhook
from cli.terminal.exit_code import exit_code
from cli.workspace import workspace_app
from programs.invocation import Invocation

app = typer.Typer(
    name="akua",
    help="Kubernetes clusters pull private images without ever holding the credentials for them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        try:
            sys.stdout.write(f"akua {version('akua-registry-access')}\n")
        except PackageNotFoundError:
            sys.stdout.write("akua (not installed)\n")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", envvar="AKUA_CONFIG", help="TOML file with settings.", show_default=False)
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", "-f", help="Folder for state, audit trail and certificates. Default: .akua", show_default=False),
    ] = None,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Settings come from the environment (AKUA_...), then the file; docs/configuration.md lists them."""
    context.obj = Invocation(config, folder)


app.command()(serve)
app.command()(webhook)
app.command()(proxy)
app.command("node-trust")(node_trust)
app.command()(demo)
app.command()(image)
app.command()(rewrite)
app.command()(explain)
app.command()(doctor)
app.add_typer(workspace_app, name="workspace")
app.add_typer(product_app, name="product")
app.add_typer(install_app, name="install")
app.add_typer(credential_app, name="credential")
app.add_typer(audit_app, name="audit")
credential_app.command()(rotate)
credential_app.command()(versions)
credential_app.command()(pin)
credential_app.command("disable-version")(disable_version)
credential_app.command("enable-version")(enable_version)
credential_app.command()(destroy)
credential_app.command("test")(try_)
credential_app.command()(usage)
install_app.command()(token)
install_app.command()(bundle)
install_app.command()(sync)
install_app.command()(pods)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: see `exit_code`, plus 3 for a refusal by `explain`."""
    # Commands report their own errors; a serving process sets up its own log.
    logging.getLogger().handlers[:] = [logging.NullHandler()]
    return exit_code(lambda: app(args=None if arguments is None else list(arguments), prog_name="akua"))

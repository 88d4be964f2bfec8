"""`akua install token|bundle`: what a cluster needs to pull through an install."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from ruamel.yaml import YAML

from cli.install.commands import NameArgument
from cli.session import with_session
from cli.terminal.options import Output, OutputOption, WorkspaceOption
from cli.terminal.presentation import show_json
from control.install.provisions import install_bundle, install_token
from control.session import Session
from registry_access.model.timestamp import rfc3339
from webhook.install_sync.objects.minting import InstallToken, docker_config


def token(
    context: typer.Context,
    name: NameArgument,
    docker: Annotated[bool, typer.Option("--docker-config", help="Print a complete docker config.json instead.")] = False,
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Print the install's token: a secret that opens the proxy and nothing else.

    Examples:

      akua install token shop | docker login --username shop --password-stdin oci.akua.dev

      akua install token shop --docker-config > ~/.docker/config.json
    """

    async def work(session: Session) -> tuple[InstallToken, str]:
        return await install_token(session, name), session.settings.host

    found, host = with_session(context, workspace, work)
    if docker:
        sys.stdout.write(json.dumps(json.loads(docker_config(host, name, found.token)), indent=2) + "\n")
    elif output is Output.JSON:
        expires = rfc3339(found.claims.expires_at)
        identity = {"id": found.claims.token_id, "expires_at": expires, "generation": found.claims.identity.generation}
        show_json({"host": host, "username": name, "password": found.token, **identity})
    else:
        sys.stdout.write(found.token + "\n")


def bundle(
    context: typer.Context, name: NameArgument, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Print the install's pull Secrets and pull grants, for a cluster that akua cannot reach. The output contains a secret.

    Example: akua install bundle shop | kubectl apply -f -
    """
    objects = with_session(context, workspace, lambda session: install_bundle(session, name), provisioned=True)
    if output is Output.JSON:
        show_json({"apiVersion": "v1", "kind": "List", "items": objects})
        return
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.explicit_start = True
    yaml.dump_all(objects, sys.stdout)

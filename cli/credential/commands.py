"""`akua credential`: how the proxy logs in to upstream registries."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from cli.credential.input import read_values
from cli.session import with_session
from cli.terminal.options import Output, OutputOption, WorkspaceOption, YesOption
from cli.terminal.presentation import Cell, age, confirm, done, remark, show_fields, show_json, show_rows
from control.credential.lifecycle import NewCredential, add_credential, delete_credential, disable_credential, enable_credential
from control.credential.presets import PRESETS, Preset
from control.session import Session
from registry_access.model.errors import InvalidInput
from registry_access.model.names.registry_host import normalize_registry_host
from registry_access.model.resources import CredentialType, RegistryCredential, Resource
from registry_access.model.workspace_secret import SecretProblem

credential_app = typer.Typer(
    help="How the proxy logs in to upstream registries. Secrets are prompted for or piped in, never passed as arguments.",
    no_args_is_help=True,
)
NameArgument = Annotated[str, typer.Argument(help="The credential's name.")]


@credential_app.command("presets")
def presets(output: OutputOption = Output.TABLE) -> None:
    """List the presets of `akua credential add`, and what you need from each registry."""
    if output is Output.JSON:
        show_json(
            [
                {
                    "name": preset.name,
                    "title": preset.title,
                    "type": str(preset.type),
                    "registry": preset.registry,
                    "fields": [field.name for field in preset.fields if not field.value],
                    "hint": preset.hint,
                }
                for preset in PRESETS.values()
            ]
        )
        return
    rows = [(preset.name, preset.title, preset.registry or preset.example, preset.hint or "-") for preset in PRESETS.values()]
    show_rows(("preset", "for", "registry", "needs"), rows, empty="")


@credential_app.command("add")
def add(
    context: typer.Context,
    preset: Annotated[str, typer.Argument(help="A preset: see `akua credential presets`.")],
    name: Annotated[str, typer.Option("--name", help="The credential's name. Default: the preset's.", show_default=False)] = "",
    registry: Annotated[str, typer.Option("--registry", help="The registry, host[:port].", show_default=False)] = "",
    repositories: Annotated[
        list[str] | None, typer.Option("--repository", "-r", help="Cover only this prefix, such as acme/*; may be repeated.")
    ] = None,
    username: Annotated[str, typer.Option("--username", "-u", help="User name.")] = "",
    access_key_id: Annotated[str, typer.Option("--access-key-id", help="AWS access key id.")] = "",
    region: Annotated[str, typer.Option("--region", help="AWS region, if the registry's name does not include it.")] = "",
    client_id: Annotated[str, typer.Option("--client-id", help="OAuth client id.")] = "",
    token_url: Annotated[str, typer.Option("--token-url", help="OAuth token URL.")] = "",
    scopes: Annotated[str, typer.Option("--scopes", help="OAuth scopes, separated by spaces.")] = "",
    login: Annotated[str, typer.Option("--login", help="The login kind, if type and host do not determine it.")] = "",
    realm_hosts: Annotated[
        list[str] | None, typer.Option("--realm-host", help="A token service that may be sent this credential; may be repeated.")
    ] = None,
    display_name: Annotated[str, typer.Option("--display-name", help="A name for people.")] = "",
    insecure: Annotated[bool, typer.Option("--insecure", help="Use plain HTTP.")] = False,
    private: Annotated[bool, typer.Option("--allow-private-addresses", help="Allow private network addresses.")] = False,
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Add a credential. Prompts for missing values. The secret comes from a hidden prompt or from standard input.

    Examples:

      akua credential add ghcr

      akua credential add gar --registry europe-west1-docker.pkg.dev < key.json

      printenv HARBOR_PASSWORD | akua credential add basic --name harbor --registry harbor.example.com -u 'robot$pull'
    """
    chosen = _preset(preset)
    host = _registry(chosen, registry)
    given = {
        "username": username,
        "access_key_id": access_key_id,
        "region": region,
        "client_id": client_id,
        "token_url": token_url,
        "scopes": scopes,
    }
    if chosen.hint and sys.stdin.isatty():
        remark(f"{chosen.title}: {chosen.hint}")
    called = name or chosen.name

    wanted = NewCredential(
        called,
        chosen.type,
        host,
        display_name=display_name,
        repositories=repositories or (),
        login=login or chosen.login,
        realm_hosts=realm_hosts or (),
        insecure=insecure,
        allow_private_addresses=private,
    )

    async def work(session: Session) -> Resource:
        return await add_credential(session, wanted, lambda: read_values(chosen.fields, given, f"credential {called}"))

    made = with_session(context, workspace, work, creating=True)
    done(output, made.to_manifest(), f"credential {called} is for {host}; `akua credential test {called}` tries it")


@credential_app.command("list")
def list_(context: typer.Context, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE) -> None:
    """List the workspace's credentials, whether each is usable, and if not, why."""

    async def work(session: Session) -> list[tuple[RegistryCredential, str, str]]:
        return [(item, *_usable(session, item)) for item in session.credentials()]

    found = with_session(context, workspace, work)
    if output is Output.JSON:
        show_json([item.to_manifest() | {"secretVersion": version, "problem": problem} for item, version, problem in found])
        return
    rows = [
        (
            item.metadata.name,
            item.registry,
            ", ".join(map(str, item.repositories)) or "*",
            str(item.type),
            _state(item, problem),
            version or "-",
            _verified(item),
            age(item.status.last_used_time),
            age(item.metadata.creation_time),
        )
        for item, version, problem in found
    ]
    columns = ("name", "registry", "repositories", "type", "state", "secret", "verified", "used", "age")
    show_rows(columns, rows, empty="no credentials yet; run `akua credential add` to create one")


@credential_app.command("show")
def show(
    context: typer.Context, name: NameArgument, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Show one credential. Its secret is never shown."""

    async def work(session: Session) -> tuple[RegistryCredential, str, str]:
        found = session.credential(name)
        return (found, *_usable(session, found))

    found, version, problem = with_session(context, workspace, work)
    if output is Output.JSON:
        show_json(found.to_manifest() | {"secretVersion": version, "problem": problem})
        return
    fields: dict[str, Cell] = {
        "Name": name,
        "Display name": found.display_name or "-",
        "Registry": found.registry + (" (plain HTTP)" if found.insecure else ""),
        "Repositories": [str(pattern) for pattern in found.repositories] or "all",
        "Type": str(found.type),
        "State": _state(found, problem),
        "Secret": f"{found.secret_name}, version {version or '-'}" if found.secret_name else "none",
        "Last used": age(found.status.last_used_time),
    }
    for condition in found.status.conditions:
        fields[condition.type] = f"{condition.status} ({condition.reason}) {condition.message}".rstrip()
    show_fields(fields)


@credential_app.command("disable")
def disable(
    context: typer.Context, name: NameArgument, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Refuse every pull that needs this credential and cut pulls in progress. Undo with `enable`."""
    made = with_session(context, workspace, lambda session: disable_credential(session, name))
    done(output, made.to_manifest(), f"credential {name} is disabled: pulls in progress are cut and new ones are refused")


@credential_app.command("enable")
def enable(
    context: typer.Context, name: NameArgument, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Use a disabled credential again. Nothing changes in any workload cluster."""
    made = with_session(context, workspace, lambda session: enable_credential(session, name))
    done(output, made.to_manifest(), f"credential {name} is in use")


@credential_app.command("delete")
def delete(
    context: typer.Context,
    name: NameArgument,
    keep_secret: Annotated[bool, typer.Option("--keep-secret", help="Keep the secret and its versions.")] = False,
    workspace: WorkspaceOption = "",
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete a credential and, if no other credential uses it, its secret."""

    async def work(session: Session) -> bool:
        found = session.credential(name)
        if not yes and sys.stdin.isatty():
            confirm(f"Delete credential {name}? Pulls from {found.registry} that need it will be refused.")
        return await delete_credential(session, name, keep_secret=keep_secret)

    gone = with_session(context, workspace, work)
    done(output, {"deleted": name, "secret_deleted": gone}, f"credential {name} is deleted{', and its secret' if gone else ''}")


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise InvalidInput(f"{name!r} is not a preset", field="preset", remedy=f"name one of {', '.join(PRESETS)}")
    return PRESETS[name]


def _registry(preset: Preset, given: str) -> str:
    host = given or preset.registry
    if not host:
        if not sys.stdin.isatty():
            raise InvalidInput("is missing", field="--registry", remedy=f"name the registry, such as {preset.example}")
        host = str(typer.prompt(f"Registry (such as {preset.example})", err=True))
    return normalize_registry_host(host)


def _usable(session: Session, credential: RegistryCredential) -> tuple[str, str]:
    """The secret version that would be used, and what is wrong with it."""
    if session.sealed:
        return "?", ""
    found = session.value_of(credential)
    if isinstance(found, SecretProblem):
        return "", found.detail
    return ("-" if credential.type is CredentialType.ANONYMOUS else found.version), ""


def _state(credential: RegistryCredential, problem: str) -> Text:
    if credential.disabled:
        return Text("disabled", "red")
    return Text(problem, "yellow") if problem else Text("enabled", "green")


def _verified(credential: RegistryCredential) -> str:
    found = credential.status.condition("Verified")
    return "-" if found is None else "yes" if found.status == "True" else found.reason

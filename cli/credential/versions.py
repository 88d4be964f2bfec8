"""`akua credential rotate|versions|pin|disable-version|enable-version|destroy`: the versioned secret behind a credential.

`akua credential test` logs in with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer
from rich.text import Text

from cli.credential.commands import NameArgument
from cli.credential.input import read_values
from cli.session import with_session
from cli.terminal.options import Output, OutputOption, WorkspaceOption, YesOption
from cli.terminal.presentation import age, confirm, done, remark, show_json, show_rows
from control.credential.lifecycle import add_version, secret_of, values_to_ask
from control.credential.trial import try_credential, try_values
from control.session import Session
from proxy.upstream.verification import Verification
from registry_access.model.errors import InvalidInput
from registry_access.model.names.proxied_reference import Unchanged, from_proxied, to_proxied
from registry_access.model.resources import RegistryCredential
from registry_access.model.timestamp import rfc3339
from registry_access.model.workspace_secret import SecretProblem
from registry_access.state.workspace_secrets import SecretVersion, WorkspaceSecrets

VersionArgument = Annotated[int, typer.Argument(help="The version's number.")]


def rotate(
    context: typer.Context,
    name: NameArgument,
    username: Annotated[str, typer.Option("--username", "-u", help="New user name, if it changes too.")] = "",
    stage: Annotated[bool, typer.Option("--stage", help="Add the version without using it; `pin` makes it current.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Use it only if it opens recently pulled images; otherwise it stays staged.")
    ] = False,
    comment: Annotated[str, typer.Option("--comment", help="The reason, shown in the list of versions.")] = "",
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Give a credential a new secret: a new version, which becomes current. Nothing changes in any workload cluster.

    Prompts only for the secret; everything else stays the same.

    Example: pass show ghcr | akua credential rotate ghcr
    """

    async def work(session: Session) -> SecretVersion:
        fields, kept = values_to_ask(session, name, username)
        values = read_values(fields, kept, name)
        made = await add_version(session, name, values, current=not (stage or verify), comment=comment)
        if not verify:
            return made
        for image, outcome in await try_values(session, session.credential(name), values):
            remark(f"{'✓' if outcome.ok else '✗'} {image}: {outcome.detail}")
            if not outcome.ok:
                raise InvalidInput(
                    f"version {made.number} does not open {image} ({outcome.outcome}), so it is staged and not used",
                    field=f"credential {name}",
                    remedy=f"run `akua credential pin {name} {made.number}` to use it anyway",
                )
        return made if stage else await WorkspaceSecrets(session.store).pin(session.workspace, made.secret, made.number)

    made = with_session(context, workspace, work)
    state = "is staged" if stage else "is current"
    done(output, _document(made), f"version {made.number} of secret {made.secret} {state}")


def versions(
    context: typer.Context, name: NameArgument, workspace: WorkspaceOption = "", output: OutputOption = Output.TABLE
) -> None:
    """List the versions of a credential's secret, the newest first. Values are never shown."""

    async def work(session: Session) -> list[SecretVersion]:
        return list(await WorkspaceSecrets(session.store).versions(session.workspace, secret_of(session, name)))

    found = with_session(context, workspace, work)
    if output is Output.JSON:
        show_json([_document(item) for item in found])
        return
    rows = [
        (
            str(item.number),
            Text("current", "green") if item.current else "-",
            str(item.state),
            item.comment or "-",
            age(item.created),
        )
        for item in found
    ]
    show_rows(
        ("version", "use", "state", "comment", "age"),
        rows,
        empty="its secret has no versions; add one with `rotate`",
    )


def pin(
    context: typer.Context,
    name: NameArgument,
    version: VersionArgument,
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a version of the secret current: a staged one, or an earlier one to roll back."""

    async def work(session: Session) -> SecretVersion:
        return await WorkspaceSecrets(session.store).pin(session.workspace, secret_of(session, name), version)

    made = with_session(context, workspace, work)
    done(output, _document(made), f"version {version} of secret {made.secret} is current")


def disable_version(
    context: typer.Context,
    name: NameArgument,
    version: VersionArgument,
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Stop using a version of the secret. Disabling the current version immediately refuses every pull that needs it."""

    async def work(session: Session) -> SecretVersion:
        return await WorkspaceSecrets(session.store).disable(session.workspace, secret_of(session, name), version)

    made = with_session(context, workspace, work)
    done(output, _document(made), f"version {version} of secret {made.secret} is disabled")


def enable_version(
    context: typer.Context,
    name: NameArgument,
    version: VersionArgument,
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Allow a disabled version of the secret to be used again."""

    async def work(session: Session) -> SecretVersion:
        return await WorkspaceSecrets(session.store).enable(session.workspace, secret_of(session, name), version)

    made = with_session(context, workspace, work)
    done(output, _document(made), f"version {version} of secret {made.secret} is enabled")


def destroy(
    context: typer.Context,
    name: NameArgument,
    version: VersionArgument,
    workspace: WorkspaceOption = "",
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Permanently remove the values of a version that is not current."""

    async def work(session: Session) -> SecretVersion:
        secret = secret_of(session, name)
        if not yes:
            confirm(f"Destroy version {version} of secret {secret}? Its values are lost for good.")
        return await WorkspaceSecrets(session.store).destroy(session.workspace, secret, version)

    made = with_session(context, workspace, work)
    done(output, _document(made), f"version {version} of secret {made.secret} is destroyed")


def try_(
    context: typer.Context,
    name: NameArgument,
    image: Annotated[str, typer.Argument(help="An image that it should open.", show_default=False)] = "",
    workspace: WorkspaceOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Log in to the registry and report exactly what is wrong if that fails. With an image, also request its manifest.

    The test runs from this machine. In a cluster the proxy may take another route to the registry; its own result is the
    condition Verified in `kubectl describe rcred`. Exits with 1 if the test fails.

    Example: akua credential test ghcr ghcr.io/acme/storefront:1.4
    """

    async def work(session: Session) -> Verification:
        found = session.credential(name)
        secret = session.value_of(found)
        if isinstance(secret, SecretProblem):
            raise InvalidInput(secret.detail, field=f"credential {name}")
        return await try_credential(session, found, secret, _asked(image, found, session.settings.host))

    found = with_session(context, workspace, work)
    if output is Output.JSON:
        show_json({"credential": name, "ok": found.ok, "outcome": str(found.outcome), "detail": found.detail})
    elif found.ok:
        done(output, {}, f"credential {name} works: {found.detail}")
    else:
        show_rows(("credential", "outcome", "detail"), [(name, Text(str(found.outcome), "red"), found.detail)], empty="")
    if not found.ok:
        raise typer.Exit(1)


def _asked(image: str, credential: RegistryCredential, host: str) -> tuple[str, str] | None:
    """The repository and reference of an image in the credential's registry. Raises InvalidInput."""
    if not image:
        return None
    upstream = from_proxied(image, host)
    if upstream is None:
        proxied = to_proxied(image, host)
        if isinstance(proxied, Unchanged):
            raise InvalidInput(proxied.detail, field="image")
        upstream = proxied.upstream
    if upstream.registry != credential.registry:
        remedy = f"write {replace(upstream, registry=credential.registry)}"
        raise InvalidInput(f"{upstream} is not in {credential.registry}", field="image", remedy=remedy)
    return upstream.repository, upstream.digest or upstream.tag or "latest"


def _document(version: SecretVersion) -> dict[str, object]:
    return {
        "secret": version.secret,
        "version": version.number,
        "current": version.current,
        "state": str(version.state),
        "comment": version.comment,
        "created": rfc3339(version.created) or None,
    }

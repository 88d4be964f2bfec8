"""`akua demo`, the command: the tour, then serving until it is stopped."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Group
from rich.text import Text

from cli.demo.stage import Stage
from cli.demo.tour import Tour
from cli.demo.world import World, demo_world
from registry_access.runtime.logs.json_logging import configure_logging
from registry_access.runtime.logs.redaction import Redactor


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop after the tour.", envvar="ONCE")] = False,
) -> None:
    """Demonstrate everything on this machine: rewrite a pod, serve a pull, revoke an install.

    Starts private upstream registries, the proxy and the webhook on loopback, in a temporary folder. Afterwards it keeps
    serving, so that docker, podman or skopeo can pull from it. Exits with 1 if a step fails.
    """
    stage = Stage()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_demo(stage, once=once))


async def _demo(stage: Stage, *, once: bool) -> None:
    stage.title("Akua registry access", "Clusters pull private images without ever holding the credentials for them.")
    async with demo_world() as world:
        log = (world.folder / "akua.log").open("w")
        handler = configure_logging("info", Redactor(), lambda: None, log)
        try:
            touring = asyncio.create_task(Tour(world, stage).run())
            stopped = asyncio.Event()
            _stop_on_signals(stopped, touring)
            with suppress(asyncio.CancelledError):
                await touring
            if stopped.is_set():
                raise KeyboardInterrupt
            if once:
                stage.console.print("\n[bold green]Every step held.[/]")
                return
            _invite(stage, world)
            await stopped.wait()
        finally:
            handler.close()
            log.close()


def _stop_on_signals(stopped: asyncio.Event, touring: asyncio.Task[None]) -> None:
    """The servers' own signal handlers would stop them during the tour, so the demo stops first."""

    def stop() -> None:
        stopped.set()
        touring.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _invite(stage: Stage, world: World) -> None:
    """What the user can do while the demo keeps serving."""
    akua = _command()
    image = f"{world.host}/{world.upstream('packages').replace(':', '_')}/acme/storefront:1.4"
    process = world.process
    stage.console.print(
        "\n[bold green]Every step held.[/] The demo keeps serving; press Ctrl-C to stop it. Now try it in another terminal:\n"
    )
    groups = (
        (
            "Commands",
            (
                f"export AKUA_CONFIG={shlex.quote(str(world.settings_file))}",
                f"{akua} install list",
                f"{akua} audit tail",
                f"{akua} install revoke shop",
            ),
        ),
        (
            "docker",
            (
                f"{akua} install token shop | docker login -u shop --password-stdin {world.host}",
                f"docker run --rm {image}",
            ),
        ),
        (
            "podman",
            (
                f"{akua} install token shop | podman login --tls-verify=false -u shop --password-stdin {world.host}",
                f"podman run --rm --tls-verify=false {image}",
            ),
        ),
        (
            "skopeo",
            (f'skopeo inspect --tls-verify=false --creds "shop:$({akua} install token shop)" docker://{image}',),
        ),
        (
            "URLs",
            (
                f"http://{process.address('proxy')}/v2/",
                f"https://{process.address('webhook')}/mutate",
                f"http://{process.address('operations')}/readyz",
                f"http://{process.address('operations')}/metrics",
            ),
        ),
    )
    for title, lines in groups:
        # Do not wrap: the user copies these lines.
        stage.console.print(Group(Text(f"   {title}", "cyan"), *(Text(f"     {line}") for line in lines)), soft_wrap=True)


def _command() -> str:
    """The command that runs this program."""
    program, found = Path(sys.argv[0]), shutil.which("akua")
    if found and program.exists() and program.samefile(found):
        return "akua"
    relative = os.path.relpath(program)
    return shlex.quote(relative if len(relative) < len(str(program)) else str(program))

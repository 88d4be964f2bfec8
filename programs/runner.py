"""Runs the serving programs: what is served, with which settings, on which event loop."""

from __future__ import annotations

import asyncio
import logging

import uvloop

from programs.invocation import Invocation
from programs.process import PROXY, WEBHOOK, Process
from registry_access.model.errors import AkuaError
from registry_access.runtime.logs.json_logging import configure_logging
from registry_access.runtime.logs.remark import remark
from registry_access.runtime.memory import freeze_long_lived
from registry_access.runtime.serving import OPERATIONS

logger = logging.getLogger(__name__)
PROGRAMS = {"serve": (PROXY, WEBHOOK), "proxy": (PROXY,), "webhook": (WEBHOOK,)}


def run_program(name: str, found: Invocation, **given: str) -> None:
    """Serves until SIGTERM. `given` are settings from options, by name. Raises AkuaError."""
    settings = found.settings(**given)
    parts = PROGRAMS[name]
    process = Process(settings, found.home, proxy=PROXY in parts, webhook=WEBHOOK in parts)
    handler = configure_logging(settings.log_level, process.redactor, process.telemetry.log_drops.inc)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(process.run(lambda: _started(process)))
    except AkuaError:
        raise
    except Exception:
        logger.exception("unexpected error; the process stops")
        raise
    finally:
        handler.close()


def _started(process: Process) -> None:
    """Prints the addresses for a person; programs read the log on standard output."""
    freeze_long_lived()
    schemes = {
        PROXY: "https" if process.settings.proxy_tls else "http",
        WEBHOOK: "https",
        OPERATIONS: "http",
    }
    paths = {PROXY: "/v2/", WEBHOOK: "/mutate", OPERATIONS: "/readyz"}
    for name in process.names:
        remark(f"akua: {name:<10} {schemes[name]}://{process.address(name)}{paths[name]}")

"""Where `akua` begins. The programs that run for months take the short way: started without options, as a Deployment starts them,
there is nothing to parse, and the command line's own libraries would be a third of their memory and of the time to be ready.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NODE_TRUST = "node-trust"
_PROGRAMS = ("serve", "proxy", "webhook", _NODE_TRUST)


def run() -> None:
    """The entry point."""
    # Whatever we write (state, audit trail, keys) is nobody else's to read.
    os.umask(0o077)
    arguments = sys.argv[1:]
    sys.exit(_serve(arguments[0]) if len(arguments) == 1 and arguments[0] in _PROGRAMS else _command())


def _serve(program: str) -> int:
    from cli.terminal.exit_code import exit_code
    from programs.invocation import Invocation

    config = os.environ.get("AKUA_CONFIG")
    found = Invocation(Path(config) if config else None)
    if program == _NODE_TRUST:
        from programs.node_trust import keep_trust

        return exit_code(lambda: keep_trust(found.settings()))
    from programs.runner import run_program

    return exit_code(lambda: run_program(program, found))


def _command() -> int:
    from cli.main import main

    return main()

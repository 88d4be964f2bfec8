"""Where `akua` begins. Long-running programs take a shortcut: started without options, as a Deployment starts them, they have
nothing to parse, and the command line's libraries would cost a third of their memory and start-up time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NODE_TRUST = "node-trust"
_PROGRAMS = ("serve", "proxy", "webhook", _NODE_TRUST)


def run() -> None:
    """The entry point."""
    # Nobody else may read the files that we write (state, audit trail, keys).
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

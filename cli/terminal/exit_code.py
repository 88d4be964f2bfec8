"""How an `akua` command ends: an exit code, and one line about what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable

from registry_access.model.errors import AkuaError, InvalidInput

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


def exit_code(work: Callable[[], object]) -> int:
    """Runs `work`. Returns 0 for success, 1 for failure, 2 for invalid input, 130 if interrupted, or the exit code of `work`."""
    try:
        work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # As in `akua ... | head`: the reader has closed the pipe.
        sys.stderr.close()
    except Exception as error:
        from cli.terminal.presentation import show_bug, show_error

        if not isinstance(error, AkuaError):
            show_bug(error)
            return FAILURE
        show_error(error)
        return USAGE if isinstance(error, InvalidInput) else FAILURE
    return 0

"""Sentences for the person at the terminal, out of the way of what is piped."""

from __future__ import annotations

import sys

from registry_access.model.printable import printable


def remark(text: str) -> None:
    """`text` on standard error, on one line."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()

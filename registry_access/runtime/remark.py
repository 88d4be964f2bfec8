"""Sentences for the person who looks, out of the way of what is piped."""

from __future__ import annotations

import sys


def remark(text: str) -> None:
    """`text` on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()

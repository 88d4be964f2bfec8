"""Durations as kubectl writes them."""

from __future__ import annotations


def span(seconds: float) -> str:
    """A duration in its largest sensible unit."""
    whole = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= 2 * size:
            return f"{whole // size}{unit}"
    return f"{whole}s"

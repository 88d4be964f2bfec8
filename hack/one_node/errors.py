"""Errors that a person can fix."""

from __future__ import annotations


class ClusterError(Exception):
    """The message says what is wrong and the way out; it is shown without a traceback."""

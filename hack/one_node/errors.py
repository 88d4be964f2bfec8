"""What can go wrong in a way that a person can mend."""

from __future__ import annotations


class ClusterError(Exception):
    """The message says what is wrong and the way out; it is shown without a traceback."""

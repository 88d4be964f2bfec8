"""File descriptors: every connection costs one, a pull costs a second one for the upstream."""

from __future__ import annotations

import logging
import resource

logger = logging.getLogger(__name__)
RESERVE = 128  # for the database, the API server, log, files, certificates and the operations listener
_ENOUGH = 65536


def raise_limit() -> int:
    """Raises the soft limit to the hard one, at most 65536, and returns what the process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _ENOUGH if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        logger.warning("the limit of open files stays at %d: %s", soft, error)
        return soft
    return wanted


def affordable(wanted: int, each: int, limit: int) -> int:
    """How many of `wanted` connections, at `each` descriptors, `limit` allows beside the reserve; at least 16."""
    possible = max(16, (limit - RESERVE) // each)
    if possible >= wanted:
        return wanted
    logger.warning(
        "open files are limited to %d: at most %d connections are accepted, not %d; raise `ulimit -n` to %d",
        limit,
        possible,
        wanted,
        wanted * each + RESERVE,
    )
    return possible

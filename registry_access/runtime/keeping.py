"""The loop of everything that is looked after: look, put right, wait, look again. Nothing that a look meets ends it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection

from registry_access.model.errors import AkuaError
from registry_access.runtime.backoff import Backoff

Look = Callable[[], Awaitable[Collection[str] | None]]
Sleep = Callable[[float], Awaitable[None]]
_JITTER = 0.2  # so that many processes do not all ask at once
_RETRY_SECONDS = 1.0
_RETRY_MAXIMUM = 60.0


async def keep(
    look: Look,
    every: float,
    wake: asyncio.Event | None = None,
    *,
    warning: str,
    logger: logging.Logger,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Awaits `look` every `every` seconds, and as soon as `wake` is set; until cancelled.

    `look` raises AkuaError, or returns the sentences that say what it could not put right. Each sentence is logged once, behind
    `warning`, and again when it has been gone in between. After a new problem the next look comes sooner, then later each time.
    An exception that is no AkuaError is a bug: it is logged with its traceback, and the loop goes on.
    """
    backoff = Backoff(min(_RETRY_SECONDS, every), min(_RETRY_MAXIMUM, every))
    known: frozenset[str] = frozenset()
    while True:
        if wake is not None:
            wake.clear()
        failed = True
        try:
            problems = frozenset(await look() or ())
            failed = bool(problems)
        except AkuaError as error:
            problems = frozenset({str(error)})
        except Exception:
            logger.exception("%s: an unexpected error; trying again", warning)
            problems = known
        fresh = problems - known
        for problem in sorted(fresh):
            logger.warning("%s; trying again: %s", warning, problem)
        known = problems
        if failed:
            if fresh:
                backoff.reset()
            wait = min(backoff.next(), every * (1 + _JITTER))
            # What a look changed before it failed may wake it: it must not spin.
            pause = min(_RETRY_SECONDS, wait)
            await sleep(pause)
            wait -= pause
        else:
            backoff.reset()
            wait = every * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load, no secret
        await _rest(wait, wake, sleep)


async def _rest(seconds: float, wake: asyncio.Event | None, sleep: Sleep) -> None:
    if wake is None:
        await sleep(seconds)
        return
    ends = [asyncio.ensure_future(sleep(seconds)), asyncio.ensure_future(wake.wait())]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()

"""Names resolved on threads of their own, so that a few dead ones stall neither other tenants nor anything else on threads.

The system's resolver blocks its thread for many seconds when a name's servers do not answer, and asyncio's pool is small.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

THREADS = 128  # made when they are needed
SHARE = 8  # of them that one tenant may hold at a time

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="")


class Resolved(TypedDict):
    """An address as aiohttp's connectors take it (its ResolveResult)."""

    hostname: str
    host: str
    port: int
    family: int
    proto: int
    flags: int


Resolve = Callable[[str], Sequence[str]]


def system_addresses(host: str) -> Sequence[str]:
    """The addresses of `host`, by the system's resolver. Raises OSError."""
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class NameLookup:
    """For each tenant one look-up of a name at a time, shared by all callers, and a bounded number of names at a time."""

    def __init__(self, resolve: Resolve = system_addresses, *, threads: int = THREADS, share: int = SHARE) -> None:
        self._resolve = resolve
        self._share = share
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")
        self._flights: dict[tuple[str, str], asyncio.Task[Sequence[str]]] = {}
        self._places: dict[str, asyncio.Semaphore] = {}
        self._waiting: dict[str, int] = {}

    async def addresses(self, host: str) -> list[str]:
        """Raises OSError when the name does not resolve."""
        key = (tenant.get(), host)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._look_up(*key))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        # One caller's going away must not take the answer from the others.
        return list(await asyncio.shield(flight))

    async def _look_up(self, whose: str, host: str) -> Sequence[str]:
        self._waiting[whose] = self._waiting.get(whose, 0) + 1
        places = self._places.setdefault(whose, asyncio.Semaphore(self._share))
        try:
            async with places:
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._resolve, host)
        finally:
            self._waiting[whose] -= 1
            if not self._waiting[whose]:
                del self._waiting[whose], self._places[whose]

    def _landed(self, key: tuple[str, str], flight: asyncio.Task[Sequence[str]]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # those who waited were given it

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def as_result(host: str, address: str, port: int) -> Resolved:
    """`address` for a connection to `host`."""
    return Resolved(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST,
    )

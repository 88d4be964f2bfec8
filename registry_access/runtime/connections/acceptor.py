"""Accepts connections for one listener: past the gate first, then through the TLS handshake, which has a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

from registry_access.runtime.connections.gate import HANDSHAKE, Gate, Slot

logger = logging.getLogger(__name__)
_AT_ONCE = 32  # accepted in one turn of the loop, so that a crowd does not keep the loop from other work
_PAUSE_SECONDS = 0.2
_SHUTDOWN_SECONDS = 5.0
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Has what uvicorn asks of a server: `close` and `wait_closed`. `build` makes a protocol for an admitted connection."""

    def __init__(
        self, sock: socket.socket, gate: Gate, build: Callable[[Slot], asyncio.Protocol], tls: ssl.SSLContext | None
    ) -> None:
        self._sock = sock
        self._gate = gate
        self._build = build
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._paused: asyncio.TimerHandle | None = None
        self._open = True
        sock.setblocking(False)
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Accepts nothing more. Handshakes under way are ended."""
        if not self._open:
            return
        self._open = False
        if self._paused is None:
            self._loop.remove_reader(self._sock)
        else:
            self._paused.cancel()
        for task in tuple(self._handshakes):
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._pause(error)
                    return
                raise
            self._admit(connection, str(peer[0]))

    def _admit(self, connection: socket.socket, address: str) -> None:
        def drop() -> None:
            # Works at every stage, and beneath TLS; what closes the descriptor is the transport that sees it.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

        slot = self._gate.admit(address, drop)
        if slot is None:
            connection.close()
            return
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._connect(connection, slot))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _connect(self, connection: socket.socket, slot: Slot) -> None:
        deadlines: dict[str, Any] = {}
        if self._tls is not None:
            deadlines = {
                "ssl": self._tls,
                "ssl_handshake_timeout": self._gate.limits.head,
                "ssl_shutdown_timeout": _SHUTDOWN_SECONDS,
            }
        try:
            await self._loop.connect_accepted_socket(lambda: self._build(slot), connection, **deadlines)
        except (OSError, asyncio.CancelledError) as error:
            # The client went away, speaks no TLS, does not trust us or took too long: an administrator can do nothing about it.
            if not slot.freed:
                slot.ended(HANDSHAKE)
            slot.free()
            with contextlib.suppress(OSError):
                connection.close()
            if isinstance(error, asyncio.CancelledError):
                raise

    def _pause(self, error: OSError) -> None:
        """Out of descriptors: the queue in the kernel waits, and this loop does not spin on it."""
        logger.warning("no connection can be accepted for %g s: %s", _PAUSE_SECONDS, error.strerror)
        self._loop.remove_reader(self._sock)
        self._paused = self._loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._paused = None
        if self._open:
            self._loop.add_reader(self._sock, self._accept)

"""What of an answer has left this machine, and a way to take back what has not.

A server hands bytes to a transport, which hands them to the kernel: megabytes can wait in either, and would still reach a
client after whatever entitled it to them is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from typing import Any

from registry_access.runtime.connections.delivery import delivery

_SIOCOUTQNSD = 0x894B  # include/uapi/linux/sockios.h: bytes of the send queue that were not sent yet
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: closing discards the send queue
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.05  # seconds between two looks, doubling


class Outgoing:
    """The way out of one connection. Counts are bytes since `mark`, beneath TLS: of its records a little more than of content.

    Where the kernel does not say (not Linux) what it holds counts as sent.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._marked = 0
        self._dropped: int | None = None

    def mark(self) -> None:
        """What is written from now on counts."""
        found = delivery(self._transport)
        self._marked = found.received + found.waiting + self._buffered() if found else 0

    @property
    def dropped_after(self) -> int | None:
        """Bytes that had left when the connection ended; None before that, or where nobody can tell."""
        return self._dropped

    def lost(self) -> None:
        """The connection has ended, its socket is still open."""
        if self._dropped is None:
            self._dropped = self._left()

    def reset(self) -> None:
        """Ends the connection at once: what is still buffered, here or in the kernel, never leaves.

        The client sees a reset if there was something to take back, else an end before its time.
        """
        if self._dropped is not None:
            return
        self._dropped = self._left()
        sock = self._transport.get_extra_info("socket")
        if sock is not None and self._unsent():
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    async def flush(self, written: int) -> None:
        """Returns when all of the `written` bytes have left, or the connection is lost."""
        pause = _FIRST_LOOK
        while not self._is_empty(written):
            if self._transport.is_closing():
                await asyncio.sleep(_LAST_LOOK)  # whoever listens for the client's going away hears of it first
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)

    def _is_empty(self, written: int) -> bool:
        left = self._left()
        # A transport with TLS does not say what waits beneath it: there the count is what tells.
        return not self._buffered() and not self._unsent() and (left is None or left >= written)

    def _left(self) -> int | None:
        found = delivery(self._transport)
        return max(0, found.received + found.waiting - self._unsent() - self._marked) if found else None

    def _buffered(self) -> int:
        return int(self._transport.get_write_buffer_size())

    def _unsent(self) -> int:
        sock = self._transport.get_extra_info("socket")
        if sys.platform != "linux" or sock is None:
            return 0
        import fcntl

        try:
            (unsent,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, b"\0\0\0\0"))
        except (OSError, ValueError):
            return 0
        return int(unsent)

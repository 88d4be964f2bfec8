"""How much of what was sent the peer has received, as the kernel counts it: beneath TLS, and behind every buffer of ours."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any, NamedTuple

_BYTES_ACKED = 120  # struct tcp_info, include/uapi/linux/tcp.h: u64 tcpi_bytes_acked
_INFO_SIZE = 256


class Delivery(NamedTuple):
    """`received` bytes over the connection's life; `waiting` bytes that the kernel holds for the peer."""

    received: int
    waiting: int


def delivery(transport: Any) -> Delivery | None:
    """None where the kernel does not say: not Linux, or no TCP."""
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None:
        return None
    import fcntl
    import termios

    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
        (received,) = struct.unpack_from("Q", info, _BYTES_ACKED)
        (waiting,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
    except (OSError, struct.error, ValueError):
        return None
    return Delivery(received, waiting)

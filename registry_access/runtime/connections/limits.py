"""What one listener allows its clients. Seconds, bytes and counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`per_address` counts strangers, `per_client` the connections of one known client; 0 turns either off.

    `stall` seconds is how long a client may take to accept 64 KiB of an answer, or all of it when less is left.
    """

    head: float = 10.0  # a TLS handshake, and then a request's line and headers, each
    body: float = 10.0
    idle: float = 75.0
    stall: float = 120.0
    body_maximum: int = 1024 * 1024
    connections: int = 2048
    per_address: int = 256
    per_client: int = 512

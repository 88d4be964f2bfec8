"""Many small requests: HTTP/1.1 over connections that are kept, one request at a time on each.

`ab` would speak HTTP/1.0, to which uvicorn answers once a connection.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field

import uvloop

from tests.bench.connection import Connection


@dataclass
class Load:
    """`authority` is a port of 127.0.0.1; `tls`: how it is trusted, None for a server without."""

    authority: str
    request: bytes
    clients: int
    seconds: float
    tls: ssl.SSLContext | None = None
    latencies: list[float] = field(default_factory=list)  # seconds

    def run(self) -> tuple[float, float]:
        """Requests a second, and the 99th percentile in milliseconds. Raises RuntimeError when an answer is not 200."""
        began = time.perf_counter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run())
        elapsed = time.perf_counter() - began
        ordered = sorted(self.latencies)
        return len(ordered) / elapsed, ordered[len(ordered) * 99 // 100] * 1000

    async def _run(self) -> None:
        until = time.perf_counter() + self.seconds
        await asyncio.gather(*(self._client(until) for _ in range(self.clients)))

    async def _client(self, until: float) -> None:
        connection = Connection(int(self.authority.rpartition(":")[2]), self.tls)
        while (began := time.perf_counter()) < until:
            status, body = await connection.send(self.request)
            if status != 200:
                raise RuntimeError(f"{status}: {body[:200]!r}")
            self.latencies.append(time.perf_counter() - began)
        connection.close()

"""Many small requests: HTTP/1.1 over connections that are kept, one request at a time on each.

`ab` would speak HTTP/1.0, to which uvicorn answers once a connection.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import uvloop


@dataclass
class Load:
    """`size` is the whole answer's, headers included, found from the first one."""

    authority: str
    request: bytes
    clients: int
    seconds: float
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
        host, _, port = self.authority.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        while (began := time.perf_counter()) < until:
            writer.write(self.request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode("latin-1"))
            start = head.lower().index(b"content-length:") + 15
            await reader.readexactly(int(head[start : head.index(b"\r", start)]))
            self.latencies.append(time.perf_counter() - began)
        writer.close()

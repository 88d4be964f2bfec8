"""Heartbeats of this replica as they come back through a watch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from registry_access.state.kubernetes.feed import HEARTBEAT_PREFIX


class HeartbeatEcho:
    """`note` is shown every object that the watch brings."""

    def __init__(self, replica: str) -> None:
        self._annotation = HEARTBEAT_PREFIX + replica
        self._count = 0
        self._seen = asyncio.Event()

    def note(self, item: Mapping[str, Any]) -> None:
        annotations = item.get("metadata", {}).get("annotations")
        count = annotations.get(self._annotation) if isinstance(annotations, dict) else None
        if isinstance(count, str) and (digits := count.rpartition("-")[2]).isdigit():
            self._count = max(self._count, int(digits))
            self._seen.set()

    async def wait_for(self, count: int, seconds: float) -> bool:
        """Whether the heartbeat of that count, or a later one, comes within `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._count < count:
            self._seen.clear()
            left = deadline - asyncio.get_running_loop().time()
            try:
                # Not wait_for: in Python 3.11 that swallows a cancellation that comes together with the event.
                async with asyncio.timeout(max(left, 0)):
                    await self._seen.wait()
            except TimeoutError:
                return False
        return True

"""Heartbeats of this replica as they come back through a watch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.state.kubernetes.watch.feed import HEARTBEAT_PREFIX, is_heartbeat


class HeartbeatEcho:
    """`note` is shown every object that the watch brings, and believes the one that is ours to annotate: the replica's name is no
    secret, and a heartbeat from elsewhere would prove a dead watch fresh.
    """

    def __init__(self, replica: str) -> None:
        self._annotation = HEARTBEAT_PREFIX + replica
        self._count = 0
        self._seen = asyncio.Event()

    def note(self, item: Mapping[str, Any]) -> None:
        metadata = item.get("metadata", {})
        if not is_heartbeat(item) and (metadata.get("name"), metadata.get("namespace", "")) != (SYSTEM_NAMESPACE, ""):
            return
        annotations = metadata.get("annotations")
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

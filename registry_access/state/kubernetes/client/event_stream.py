"""The lines of a watch, as JSON objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson

_LARGE = 64 * 1024  # bytes
LINE_MAXIMUM = 8 * 1024 * 1024  # bytes; etcd takes objects of up to 1.5 MiB


class BrokenStream(Exception):
    """The watch said something that cannot be relied on: list again."""


async def events_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Each line's object. Raises BrokenStream for a line that is not a JSON object, is too long, or is cut off at the end."""
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        if b"\n" not in chunk:
            if len(pending) > LINE_MAXIMUM:
                raise BrokenStream(f"a line of more than {LINE_MAXIMUM} bytes")
            continue
        *lines, rest = bytes(pending).split(b"\n")
        pending = bytearray(rest)
        for line in lines:
            if len(line) > _LARGE:
                await asyncio.sleep(0)  # one that takes a while to parse is not followed by the next at once
            if line.strip():
                yield _event(line)
    if pending.strip():
        raise BrokenStream("the last line has no end")


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise BrokenStream("a line that is not JSON") from None
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict) or not isinstance(event.get("type"), str):
        raise BrokenStream("a line that is not a watch event")
    return event

"""JSON patch operations (RFC 6902) and pointers (RFC 6901): the few that admission needs, written directly.

A general diff of a pod takes 1.8 ms, these take microseconds.
"""

from __future__ import annotations

Operation = dict[str, object]


def pointer(*steps: str | int) -> str:
    """``("metadata", "a/b", 0)`` as ``/metadata/a~1b/0``."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def replace(path: str, value: object) -> Operation:
    return {"op": "replace", "path": path, "value": value}


def add(path: str, value: object) -> Operation:
    return {"op": "add", "path": path, "value": value}


def remove(path: str) -> Operation:
    return {"op": "remove", "path": path}

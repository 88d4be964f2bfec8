"""A page of tags under the client's name for the repository; everything else in it is the upstream's."""

from __future__ import annotations

import orjson

from proxy.pull.manifest import json_object
from proxy.upstream.errors import UpstreamMisbehaved


def renamed(body: bytes, client_name: str, media_type: str) -> bytes:
    """The page with `client_name` as its name: tags in the upstream's order, unknown members kept.

    Raises UpstreamMisbehaved when it is not a list of tags.
    """
    page = json_object(body, "a list of tags", media_type)
    tags = page.get("tags")
    # Some registries say null for a repository that has none left.
    if not isinstance(tags, list | None) or not set(map(type, tags or ())) <= {str}:
        raise UpstreamMisbehaved("the upstream registry's answer is not a list of tags")
    return orjson.dumps(page | {"name": client_name, "tags": tags or []})

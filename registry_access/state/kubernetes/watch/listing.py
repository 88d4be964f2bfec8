"""One list of a scope into an index, for what is looked at and not watched."""

from __future__ import annotations

from registry_access.model.resources import Key
from registry_access.state.kubernetes.client.interface import Api
from registry_access.state.kubernetes.client.resource_path import WatchScope
from registry_access.state.kubernetes.watch.feed import Feed, key_in


async def list_into(feed: Feed, api: Api, scope: WatchScope) -> set[Key]:
    """The keys of what there is. Nothing is taken out of the index. Raises StateError, Gone."""
    found: set[Key] = set()
    async for page in api.pages(scope):
        for manifest in page.get("items") or ():
            key = key_in(scope.kind, manifest)
            if key is not None:
                found.add(key)
                feed.put(key, manifest)
    return found

"""The Events of a namespace, as the API server shows them: not kept, only looked through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class EventScope:
    """The Events of one namespace, by the core API: whoever has the role view there may list them."""

    namespace: str

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{quote(self.namespace, safe='')}/events"

    @property
    def selectors(self) -> dict[str, str]:
        return {}


class Pages(Protocol):
    """An API server that lists by pages (KubernetesApi)."""

    def pages(self, scope: EventScope) -> AsyncIterator[dict[str, Any]]: ...


async def events_of(api: Pages, namespace: str) -> AsyncIterator[Mapping[str, Any]]:
    """Page by page. Raises StateUnavailable, with the status 403 when they may not be listed."""
    async for page in api.pages(EventScope(namespace)):
        for event in page.get("items") or ():
            if isinstance(event, dict):
                yield event

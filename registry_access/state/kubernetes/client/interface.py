"""An API server as those see it that read it or write single objects. `KubernetesApi` answers, and fakes in tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

JSON = "application/json"


class Listed(Protocol):
    """A collection, narrowed by selectors."""

    @property
    def path(self) -> str: ...

    @property
    def selectors(self) -> dict[str, str]: ...


class Api(Protocol):
    """Paths are those of the Kubernetes API, `/api/v1/...` or `/apis/GROUP/VERSION/...`. See `KubernetesApi` for each method."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """The answer's JSON. Raises StateError's subclasses, and InvalidManifest for what the server finds invalid."""
        ...

    def pages(self, scope: Listed, *, accept: str = JSON, whole: bool = False) -> AsyncIterator[dict[str, Any]]:
        """A consistent list, page by page. Raises StateUnavailable; Gone when it took too long."""
        ...

    async def clock_offset(self) -> float:
        """Seconds by which the server's clock is ahead of ours. Raises StateUnavailable."""
        ...

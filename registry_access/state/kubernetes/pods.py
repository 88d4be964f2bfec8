"""The pods of a cluster, as the API server shows them: not kept, only looked through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from registry_access.state.kubernetes.client.interface import Api

_UNFINISHED = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}


@dataclass(frozen=True, slots=True)
class PodScope:
    """The unfinished pods of one namespace or ("") of all."""

    namespace: str = ""

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{quote(self.namespace, safe='')}/pods" if self.namespace else "/api/v1/pods"

    @property
    def selectors(self) -> dict[str, str]:
        return dict(_UNFINISHED)


async def unfinished_pods(api: Api, namespace: str = "") -> AsyncIterator[Mapping[str, Any]]:
    """Page by page. Raises StateUnavailable, with the status 403 when they may not be listed; Gone when it took too long."""
    async for page in api.pages(PodScope(namespace)):
        for pod in page.get("items") or ():
            if isinstance(pod, dict):
                yield pod

"""An API server of dictionaries, at the boundary where the doctor meets the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from control.doctor.cluster.view import ClusterView, Lookup
from control.doctor.finding import Check
from registry_access.model.errors import NotFound
from registry_access.state.kubernetes.client.api import Unavailable
from registry_access.state.kubernetes.client.interface import JSON, Listed

Manifest = dict[str, Any]
SYSTEM = "/api/v1/namespaces/akua-system"
APPS = "/apis/apps/v1/namespaces"


@dataclass
class FakeApi:
    """`objects` by path; a path in `refused` answers 403. `may` decides about access reviews."""

    objects: dict[str, Manifest] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    may: Callable[[Mapping[str, str], str], bool] = lambda attributes, user: True
    pod: Callable[[Manifest], Manifest | Exception] = lambda pod: pod
    offset: float | None = 0.0
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float | None = None,
    ) -> Manifest:
        self.asked.append((method, path))
        if path in self.refused:
            raise Unavailable(f'not allowed: "{path}" is forbidden', status=403)
        if method == "POST" and "accessreviews" in path:
            spec = body["spec"]
            return {"status": {"allowed": self.may(spec["resourceAttributes"], spec.get("user", ""))}}
        if method == "POST" and path.endswith("/pods"):
            assert query == {"dryRun": "All"}, "nothing is to be created"
            answer = self.pod(body)
            if isinstance(answer, Exception):
                raise answer
            return answer
        assert method == "GET", "the doctor changes nothing"
        if path in self.objects:
            return self.objects[path]
        if is_collection(path):
            return {"items": [item for key, item in self.objects.items() if key.rpartition("/")[0] == path]}
        raise NotFound("not found")

    async def pages(self, scope: Listed, *, accept: str = JSON, whole: bool = False) -> AsyncIterator[Manifest]:
        yield await self.request("GET", scope.path)

    async def clock_offset(self) -> float:
        if self.offset is None:
            raise Unavailable("no Date")
        return self.offset

    @property
    def view(self) -> ClusterView:
        return ClusterView(self)


def is_collection(path: str) -> bool:
    """Whether a path of the Kubernetes API names a collection: an odd number of segments follows the version."""
    segments = path.strip("/").split("/")
    return (len(segments) - (2 if segments[0] == "api" else 3)) % 2 == 1


def seen(manifest: Manifest) -> Lookup:
    return Lookup(manifest)


ABSENT, HIDDEN = Lookup(), Lookup(problem="not allowed: you")


def findings(*checks: Check) -> list[tuple[str, str]]:
    return [(str(check.finding), check.name) for check in checks]


def told(checks: list[Check]) -> dict[str, tuple[str, str]]:
    """By name, what was found."""
    return {check.name: (str(check.finding), check.detail) for check in checks}


def deployment(ready: int = 2, replicas: int = 2, **container: Any) -> Manifest:
    return {
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}},
        "status": {"readyReplicas": ready},
    }

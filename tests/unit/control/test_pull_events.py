"""What a member of a workspace sees of refused pulls, with the rights of the role view: the Events of the workspace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

from control.pull_events import pull_events
from control.session import Session


def event(
    reason: str, name: str = "shop", *, kind: str = "Install", group: str = "registry.akua.dev/v1alpha1", **more: Any
) -> Any:
    about = {"apiVersion": group, "kind": kind, "name": name}
    return {"involvedObject": about, "reason": reason, "message": f"{reason} of {name}", **more}


class Api:
    def __init__(self, *events: Any) -> None:
        self._events = events
        self.paths: list[str] = []

    async def pages(self, scope: Any) -> AsyncIterator[dict[str, Any]]:
        self.paths.append(scope.path)
        yield {"items": list(self._events)}


def session(api: Api) -> Session:
    return cast("Session", SimpleNamespace(store=SimpleNamespace(api=api), workspace="acme"))


async def test_refusals_are_listed_newest_first_with_how_often() -> None:
    api = Api(
        event("PullRefused", eventTime="2026-11-25T10:00:00.000000Z"),
        event(
            "UpstreamRefused",
            "ghcr",
            kind="RegistryCredential",
            eventTime="2026-11-25T09:00:00.000000Z",
            series={"count": 7, "lastObservedTime": "2026-11-25T11:00:00.000000Z"},
        ),
        event("Synced", eventTime="2026-11-25T12:00:00.000000Z"),
        event("PullRefused", "pod", kind="Pod", group="v1", eventTime="2026-11-25T12:00:00.000000Z"),
    )
    found = await pull_events(session(api))
    assert [(each.kind, each.name, each.reason, each.count) for each in found] == [
        ("RegistryCredential", "ghcr", "UpstreamRefused", 7),
        ("Install", "shop", "PullRefused", 1),
    ]
    assert api.paths == ["/api/v1/namespaces/acme/events"]


async def test_of_one_install() -> None:
    api = Api(event("PullRefused"), event("PullCut", "blog"), event("PullFailed", "shop", kind="RegistryCredential"))
    assert [each.note for each in await pull_events(session(api), "blog")] == ["PullCut of blog"]

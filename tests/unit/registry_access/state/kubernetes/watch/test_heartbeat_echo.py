"""Heartbeats are known by where they are, not by what anybody can write on an object."""

from __future__ import annotations

from typing import Any

import pytest

from registry_access.model.resources import Key, Kind
from registry_access.state.index import ResourceIndex
from registry_access.state.kubernetes.watch.feed import Feed
from registry_access.state.kubernetes.watch.heartbeat_echo import HeartbeatEcho
from tests.support import builders

BEAT = {"heartbeat.registry.akua.dev/abc": "1800000000-999"}
SHOP = Key(Kind.INSTALL, "acme", "shop")


def install(version: int, *, revoked: bool = False, namespace: str = "acme", name: str = "shop", **labels: str) -> dict[str, Any]:
    metadata = {"uid": "1", "resourceVersion": str(version), "labels": labels}
    return builders.manifest("Install", name, builders.whole("Install", revoked=revoked), namespace, **metadata)


def test_a_revocation_is_seen_whatever_label_the_install_has() -> None:
    index = ResourceIndex()
    feed = Feed(index)
    feed.put(SHOP, install(1))
    labelled = install(3, revoked=True)
    labelled["metadata"]["labels"] = {"registry.akua.dev/heartbeat": "true"}
    feed.put(SHOP, labelled)
    found = index.install("acme", "shop")
    assert found is not None
    assert found.revoked


def test_our_own_is_not_shown() -> None:
    index = ResourceIndex()
    Feed(index).put(
        Key(Kind.INSTALL, "akua-system", "akua-heartbeat"), install(1, namespace="akua-system", name="akua-heartbeat")
    )
    assert not list(index.installs())


@pytest.mark.parametrize(
    ("namespace", "name", "believed"),
    [
        ("akua-system", "akua-heartbeat", True),
        ("", "akua-system", True),
        ("acme", "akua-heartbeat", False),
        ("acme", "shop", False),
    ],
)
async def test_a_heartbeat_is_believed_from_its_own_object_only(namespace: str, name: str, believed: bool) -> None:
    echo = HeartbeatEcho("abc")
    echo.note({"metadata": {"name": name, "annotations": BEAT, **({"namespace": namespace} if namespace else {})}})
    assert await echo.wait_for(999, 0.01) is believed

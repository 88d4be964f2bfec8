"""What a store takes in is bounded by what is ours, not by what others may write."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from registry_access.model.resources import Key, Kind
from registry_access.state.index import ResourceIndex
from registry_access.state.kubernetes.watch.feed import Feed


def secret(size: int, **labels: str) -> dict[str, Any]:
    metadata = {"name": "akua-pull-shop", "namespace": "shop-prod", "uid": "1", "resourceVersion": "5"}
    named = {name.replace("__", "/").replace("_", "."): value for name, value in labels.items()}
    data = {".dockerconfigjson": base64.b64encode(b"x" * size).decode()}
    return {"metadata": {**metadata, "labels": named}, "type": "kubernetes.io/dockerconfigjson", "data": data}


@pytest.mark.parametrize(
    ("manifest", "kept"),
    [
        (secret(1500, registry_akua_dev__install="shop"), 1500),
        (secret(900_000, registry_akua_dev__install="shop"), 0),
        (secret(900_000), 900_000),  # a workspace's own: read there, by nobody else's leave
    ],
)
def test_a_secret_that_poses_as_a_pull_secret_is_held_without_its_megabyte(manifest: dict[str, Any], kept: int) -> None:
    index = ResourceIndex()
    key = Key(Kind.SECRET, "shop-prod", "akua-pull-shop")
    Feed(index).put(key, manifest)
    found = index.secret("shop-prod", "akua-pull-shop")
    assert found is not None
    assert sum(map(len, found.data.values())) == kept

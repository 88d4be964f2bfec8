"""A world to pull in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from demo_registry.image import INDEX_TYPE
from demo_registry.registry import UpstreamRegistry
from tests.support.proxied_world import World, world


@pytest.fixture
def upstream() -> UpstreamRegistry:
    """acme/app and acme/other, each with an image of a small and a large layer; acme/app also with an index and a referrer."""
    registry = UpstreamRegistry()
    for name in ("acme/app", "acme/other"):
        repository = registry.repository(name)
        image = repository.add_image([{"etc/motd": b"hello\n"}, {"data": bytes(range(256)) * 4096}], "1.0")
        index = {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [image | {"platform": {"os": "linux", "architecture": "amd64"}}],
        }
        repository.add_manifest(index, "multi")
        repository.add_blob(bytes(range(256)) * 8192, "application/octet-stream")
        config = repository.add_blob(b"{}", "application/vnd.oci.empty.v1+json")
        repository.add_manifest(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": "application/vnd.example.signature",
                "config": config,
                "layers": [],
                "subject": image,
            }
        )
    return registry


@pytest.fixture
async def akua(tmp_path: Path, upstream: UpstreamRegistry) -> AsyncIterator[World]:
    async with world(tmp_path, upstream) as made:
        yield made

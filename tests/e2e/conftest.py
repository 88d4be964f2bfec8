"""One real cluster for all tests of a run, and a namespace of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.support.cluster import RealCluster, requires_cluster


@pytest.fixture(scope="session")
def cluster() -> RealCluster:
    """Left running at the end, for a look; `hack/cluster down` removes it."""
    return requires_cluster()


@pytest.fixture
def namespace(cluster: RealCluster) -> Iterator[str]:
    """Removed with all that is in it, without waiting for that."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")

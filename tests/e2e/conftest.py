"""One real cluster for all tests of a run, our installation on it, and a namespace of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import RealCluster, real_cluster
from tests.support.installation import Installation
from tests.support.installation import installation as running_installation
from tests.support.tenant import Tenant
from tests.support.tenant import tenant as new_tenant

_SECONDS = 900  # of one test at most; the first one waits for images, too


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_SECONDS))


@pytest.fixture(scope="session")
def cluster() -> Iterator[RealCluster]:
    """Taken down at the end, unless it was up before (or AKUA_TEST_KEEP is set, for a look)."""
    with real_cluster() as found:
        yield found


@pytest.fixture(scope="session")
def installation(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with running_installation(cluster, tmp_path_factory.mktemp("installation")) as running:
        yield running


@pytest.fixture
def namespace(cluster: RealCluster) -> Iterator[str]:
    """Removed with all that is in it, without waiting for that."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def tenant(installation: Installation) -> Iterator[Tenant]:
    with new_tenant(installation) as made:
        yield made

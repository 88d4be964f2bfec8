"""State of more objects than fit one page, on real API servers: as a stream where etcd allows it, by pages where it does not."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator

import pytest

from registry_access.model.resources import Key, Kind
from registry_access.state.kubernetes import KubernetesStore
from tests.support.fault_proxy import FaultProxy, running_fault_proxy
from tests.support.go_programs import ETCD, go_program
from tests.support.kubernetes import ControlPlane, running_control_plane
from tests.support.large_world import LargeWorld, WorldSize
from tests.support.state_conformance import until

WORLD = LargeWorld(WorldSize(namespaces=40, workspaces=3, installs=300, grants=1200))


@pytest.fixture(scope="module", params=["streamed", "by pages"])
def plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Debian's etcd is too old for streams."""
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "-"))
    etcd = go_program(ETCD) if request.param == "streamed" else None
    with running_control_plane(folder, etcd=etcd) as plane:
        asyncio.run(WORLD.seed(plane.access()))
        yield plane


@pytest.fixture
async def proxy(plane: ControlPlane) -> AsyncIterator[FaultProxy]:
    async with running_fault_proxy(plane) as proxy:
        yield proxy


@pytest.fixture
def streamed(request: pytest.FixtureRequest) -> bool:
    return "streamed" in request.node.name


@pytest.fixture
async def store(proxy: FaultProxy, plane: ControlPlane) -> AsyncIterator[KubernetesStore]:
    store = KubernetesStore(dataclasses.replace(plane.access(proxy.address), tls_server_name=None), pull_secrets=True)
    await store.start()
    yield store
    await store.stop()


def pull_secrets(store: KubernetesStore) -> int:
    return sum(secret.type == "kubernetes.io/dockerconfigjson" for secret in store.index.secrets())


async def test_everything_is_read_and_followed(proxy: FaultProxy, store: KubernetesStore, streamed: bool) -> None:
    assert (len(store.index.installs()), len(store.index.all_grants()), pull_secrets(store)) == (300, 1200, 1200)
    assert len(store.index.workspaces()) == 3
    lists = proxy.requests["list pullgrants"]
    assert (lists == 0) if streamed else (lists == 3)
    key = Key(Kind.PULL_GRANT, WORLD.targets(7)[0], WORLD.install(7))
    await store.delete(key)
    await until(lambda: store.index.get(key) is None)
    await store.create({"apiVersion": key.kind.api_version, "kind": "PullGrant", **_grant(key)})
    await until(lambda: store.index.get(key) is not None)
    assert proxy.requests["list pullgrants"] == lists


async def test_what_was_missed_while_nothing_was_told_is_made_up_for(
    proxy: FaultProxy, store: KubernetesStore, plane: ControlPlane, streamed: bool
) -> None:
    proxy.plurals, proxy.frozen = frozenset({"installs"}), True
    elsewhere = KubernetesStore(plane.access(), kinds=())
    gone = Key(Kind.INSTALL, WORLD.workspace(11), WORLD.install(11))
    changed = Key(Kind.INSTALL, WORLD.workspace(12), WORLD.install(12))
    await elsewhere.delete(gone)
    await elsewhere.patch(changed, {"spec": {"revoked": True}})
    await elsewhere.stop()
    await proxy.say(b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n')
    proxy.frozen = False
    await until(lambda: store.index.get(gone) is None, 30)
    install = store.index.install(changed.namespace, changed.name)
    assert install is not None
    assert install.revoked
    assert len(store.index.installs()) == 299
    assert (proxy.requests["list installs"] == 0) is streamed


async def test_thousands_of_pull_secrets_are_proven_without_listing_them(proxy: FaultProxy, store: KubernetesStore) -> None:
    await until(lambda: store.staleness() < 2)
    lists = proxy.requests["list secrets"]
    held = [scope for scope in store._reflectors if scope.kind is Kind.SECRET and not scope.label_selector]
    await asyncio.sleep(3)
    assert store.staleness() < 8
    # The workspaces' few are listed, each now and then; the sync's are not.
    assert proxy.requests["list secrets"] - lists <= 2 * len(held)
    assert proxy.requests["PATCH akua-heartbeat"] > 0
    assert pull_secrets(store) == 1200


def _grant(key: Key) -> dict[str, object]:
    spec = {"host": WORLD.host, "images": ["ghcr.io/acme/app"], "pullSecret": "akua-pull-x"}
    return {"metadata": {"name": key.name, "namespace": key.namespace}, "spec": spec}

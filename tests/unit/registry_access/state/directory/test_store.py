"""The directory adapter: the conformance suite, and what only files can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry_access.model.errors import StateUnavailable
from registry_access.model.resources.install import Install
from registry_access.state.directory.store import DirectoryStore
from registry_access.state.interface import StateStore
from tests.support.state_conformance import SHOP, WORKSPACE, StartStore, StateConformance, install_manifest, until

INSTALL = """\
# The shop, bought in March
apiVersion: registry.akua.dev/v1alpha1
kind: Install
metadata:
  name: shop
  namespace: acme
spec:
  repositories:
    - ghcr.io/acme/app  # the storefront
  revoked: false
---
apiVersion: registry.akua.dev/v1alpha1
kind: Product
metadata: {name: storefront, namespace: acme}
spec: {repositories: [ghcr.io/acme/storefront]}
"""


@pytest.fixture
async def start_store(tmp_path: Path) -> AsyncIterator[StartStore]:
    started: list[DirectoryStore] = []

    async def start() -> DirectoryStore:
        store = DirectoryStore(tmp_path / "state", heartbeat_seconds=0.1)
        await store.start()
        started.append(store)
        return store

    yield start
    for store in started:
        await store.stop()


@pytest.fixture
async def store(start_store: StartStore) -> StateStore:
    return await start_store()


class TestDirectoryStore(StateConformance):
    """All of the suite."""


async def test_a_file_dropped_in_is_picked_up_with_all_its_documents(store: StateStore, tmp_path: Path) -> None:
    (tmp_path / "state" / "shop.yaml").write_text(INSTALL)
    await until(lambda: store.index.install("acme", "shop") is not None)
    assert store.index.product("acme", "storefront") is not None
    (tmp_path / "state" / "shop.yaml").unlink()
    await until(lambda: store.index.install("acme", "shop") is None)
    assert store.index.product("acme", "storefront") is None


async def test_a_broken_file_keeps_the_last_good_version_and_says_where(store: StateStore, tmp_path: Path) -> None:
    path = tmp_path / "state" / "shop.yaml"
    path.write_text(INSTALL)
    await until(lambda: store.index.install("acme", "shop") is not None)
    path.write_text(INSTALL.replace("revoked: false", "revokd: true"))
    await until(lambda: bool(store.problems()))
    (problem,) = store.problems()
    assert (problem.source, problem.line, problem.field) == (str(path), 10, "spec.revokd")
    assert "revoked" in problem.remedy
    assert store.index.install("acme", "shop") is not None
    path.write_text("a: [")
    await until(lambda: "not YAML" in str(store.problems()[0]))
    assert store.index.install("acme", "shop") is not None
    path.write_text(INSTALL)
    await until(lambda: not store.problems())


async def test_an_edit_keeps_comments_and_the_other_documents(store: StateStore, tmp_path: Path) -> None:
    path = tmp_path / "state" / "shop.yaml"
    path.write_text(INSTALL)
    await until(lambda: store.index.install("acme", "shop") is not None)
    await store.patch(SHOP, {"spec": {"revoked": True}})
    text = path.read_text()
    assert "# The shop, bought in March" in text
    assert "# the storefront" in text
    assert "revoked: true" in text
    assert "kind: Product" in text
    await store.patch_status(SHOP, {"deniedPulls": 1})
    assert path.read_text() == text
    await store.delete(SHOP)
    assert "kind: Product" in path.read_text()
    assert "kind: Install" not in path.read_text()


async def test_the_same_object_in_two_files_is_reported(store: StateStore, tmp_path: Path) -> None:
    (tmp_path / "state" / "a.yaml").write_text(INSTALL)
    (tmp_path / "state" / "b.yaml").write_text(INSTALL)
    await until(lambda: len(store.problems()) == 2)
    assert "a.yaml already" in str(store.problems()[0])


async def test_status_and_identity_survive_a_restart(tmp_path: Path) -> None:
    first = DirectoryStore(tmp_path, watch=False)
    await first.start()
    created = await first.create(install_manifest())
    await first.patch_status(SHOP, {"deniedPulls": 2})
    second = DirectoryStore(tmp_path, watch=False)
    await second.start()
    shop = second.index.get(SHOP)
    assert isinstance(shop, Install)
    assert shop.metadata.uid == created.metadata.uid
    assert shop.status.denied_pulls == 2
    await first.stop()
    await second.stop()


async def test_what_was_deleted_while_nobody_looked_is_gone(tmp_path: Path) -> None:
    first = DirectoryStore(tmp_path, watch=False)
    await first.start()
    created = await first.create(install_manifest())
    (tmp_path / WORKSPACE / "install-shop.yaml").unlink()
    second = DirectoryStore(tmp_path, watch=False)
    await second.start()
    assert second.index.get(SHOP) is None
    assert (await second.create(install_manifest())).metadata.uid != created.metadata.uid


async def test_secret_files_are_private(store: StateStore, tmp_path: Path) -> None:
    await store.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "acme"}, "stringData": {"a": "b"}}
    )
    assert (tmp_path / "state" / "acme" / "secret-s.yaml").stat().st_mode & 0o777 == 0o600


async def test_other_kinds_and_hidden_files_are_left_alone(store: StateStore, tmp_path: Path) -> None:
    (tmp_path / "state" / "other.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n")
    (tmp_path / "state" / ".hidden.yaml").write_text("nonsense: [")
    (tmp_path / "state" / "shop.yaml").write_text(INSTALL)
    await until(lambda: store.index.install("acme", "shop") is not None)
    assert not store.problems()


async def test_a_watch_that_sees_nothing_goes_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryStore(tmp_path / "state", heartbeat_seconds=0.1)
    await store.start()
    assert store.staleness() < 5
    (tmp_path / "state").rename(tmp_path / "moved")
    before = store.staleness()
    await until(lambda: store.staleness() > before + 0.5)
    (tmp_path / "moved").rename(tmp_path / "state")
    await until(lambda: store.staleness() < 0.5, seconds=15)
    await store.stop()


async def test_polling_works_where_files_report_no_changes(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, heartbeat_seconds=0.1, poll=True)
    await store.start()
    assert store.staleness() < 5
    await store.stop()


async def test_a_folder_that_cannot_be_used_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnavailable, match="cannot be used"):
        await DirectoryStore(tmp_path / "file" / "state").start()

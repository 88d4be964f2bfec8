"""Who looks after the keys: published again when spoilt, rotated when asked, alive whatever fails."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry_access.model.errors import StateUnavailable
from registry_access.model.resources import Key, Kind
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.state.directory.store import DirectoryStore
from registry_access.state.key_care import KeyCare
from registry_access.state.signing_keys import (
    INSTALL_TOKEN_JWKS,
    INSTALL_TOKEN_KEYS,
    ROTATE_ANNOTATION,
    PublishedKeys,
)
from tests.support.state_conformance import until

KEYS = Key(Kind.SECRET, SYSTEM_NAMESPACE, INSTALL_TOKEN_KEYS)
JWKS = Key(Kind.SECRET, SYSTEM_NAMESPACE, INSTALL_TOKEN_JWKS)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DirectoryStore]:
    store = DirectoryStore(tmp_path, heartbeat_seconds=0.2)
    await store.start()
    care = KeyCare(store, INSTALL_TOKEN_KEYS, 3600, time.time, publish_as="test")
    task = asyncio.create_task(care.run())
    yield store
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await store.stop()


def published(store: DirectoryStore) -> set[str]:
    return set(PublishedKeys(store.index).keys().by_id)


async def test_public_keys_that_were_deleted_are_published_again(store: DirectoryStore) -> None:
    await until(lambda: published(store))
    before = published(store)
    await store.delete(JWKS)
    await until(lambda: published(store) == before)


async def test_a_rotation_is_asked_for_by_annotation(store: DirectoryStore) -> None:
    await until(lambda: store.index.get(KEYS) and published(store))
    before = published(store)
    await store.patch(KEYS, {"metadata": {"annotations": {ROTATE_ANNOTATION: "now"}}})
    await until(lambda: len(published(store)) == 2 and before < published(store))
    await until(lambda: (secret := store.index.get(KEYS)) and ROTATE_ANNOTATION not in secret.metadata.annotations)


async def test_deleting_the_keys_burns_them(store: DirectoryStore) -> None:
    await until(lambda: store.index.get(KEYS) and published(store))
    before = published(store)
    await store.delete(KEYS)
    await until(lambda: published(store) and published(store).isdisjoint(before))


async def test_a_failure_does_not_end_it(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await until(lambda: store.index.get(KEYS) and published(store))

    failed = asyncio.Event()

    async def failing(*_: object, **__: object) -> None:
        monkeypatch.undo()
        failed.set()
        raise StateUnavailable("gone")

    monkeypatch.setattr("registry_access.state.key_care.ensure_keys", failing)
    await store.delete(JWKS)
    await failed.wait()
    await store.patch(KEYS, {"metadata": {"labels": {"touched": "yes"}}})
    await until(lambda: published(store))

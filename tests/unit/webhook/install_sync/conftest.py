"""An install sync to look at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry_access.state.directory.store import DirectoryStore
from tests.support.install_sync import Synced, running_sync


@pytest.fixture
async def synced(tmp_path: Path) -> AsyncIterator[Synced]:
    store = DirectoryStore(tmp_path / "state", heartbeat_seconds=0.2)
    await store.start()
    async with running_sync(store) as world:
        yield world
    await store.stop()

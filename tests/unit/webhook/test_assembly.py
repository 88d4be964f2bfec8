"""What the install sync is put together from."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.telemetry import Telemetry
from registry_access.model.errors import InvalidSettings
from registry_access.settings import load_settings
from registry_access.state.directory.store import DirectoryStore
from tests.support.install_sync import shop, space
from tests.support.state_conformance import until
from webhook.assembly import build_install_sync


@pytest.mark.parametrize(("setting", "synced"), [("any", True), ("annotated", False)])
async def test_which_namespaces_installs_may_go_to_is_a_setting(tmp_path: Path, setting: str, synced: bool) -> None:
    settings = load_settings({"AKUA_STATE": f"directory:{tmp_path / 'state'}", "AKUA_TARGET_NAMESPACES": setting})
    store = DirectoryStore(tmp_path / "state")
    await store.start()
    parts = await build_install_sync(settings, store, Telemetry())
    await store.create(space("prod"))
    await store.create(shop())
    await until(lambda: store.index.namespace("prod") and store.index.install("acme", "shop"))
    await parts.reconciler.reconcile("acme", "shop")
    await until(lambda: (install := store.index.install("acme", "shop")) and install.status.targets)
    install = store.index.install("acme", "shop")
    assert install is not None
    assert [target.synced for target in install.status.targets] == [synced]
    await parts.close()
    await store.stop()


def test_another_word_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="AKUA_TARGET_NAMESPACES: 'some' is neither any nor annotated"):
        load_settings({"AKUA_TARGET_NAMESPACES": "some"})

"""Which certificates the leader keeps: those that are served from Secrets, unless somebody else writes them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from programs.process import DeferredApp, Process
from programs.telemetry import Telemetry
from registry_access.settings import Settings, load_settings
from registry_access.state.directory.store import DirectoryStore
from tests.support.state_conformance import until
from webhook.admission.app import WebhookApp
from webhook.assembly import InstallSyncParts
from webhook.leader_chores import kept_secrets, leader_chores, steadily

FILES = {"AKUA_WEBHOOK_TLS_CERTIFICATE": "c", "AKUA_WEBHOOK_TLS_KEY": "k"}


def settings(**given: str) -> Settings:
    free = {f"AKUA_{name}_ADDRESS": "127.0.0.1:0" for name in ("PROXY", "WEBHOOK", "OPERATIONS")}
    return load_settings({"AKUA_STATE": "kubernetes", **free, **given})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, {"akua-ca", "akua-webhook-tls", "akua-proxy-tls"}),
        ({"AKUA_PROXY_PLAIN_HTTP": "true"}, {"akua-ca", "akua-webhook-tls"}),
        (FILES, {"akua-ca", "akua-proxy-tls"}),
        (FILES | {"AKUA_PROXY_PLAIN_HTTP": "true"}, set()),
        ({"AKUA_CERTIFICATES": "external"}, set()),
    ],
)
def test_what_is_kept(given: dict[str, str], kept: set[str]) -> None:
    assert kept_secrets(settings(**given)) == kept


def test_in_a_folder_there_is_nothing_to_keep(tmp_path: Path) -> None:
    assert leader_chores(Settings(), DirectoryStore(tmp_path)) == {}


@pytest.mark.parametrize(
    ("given", "served", "read"),
    [
        ({}, {"proxy", "webhook"}, {"akua-ca", "akua-webhook-tls", "akua-proxy-tls"}),
        ({"AKUA_PROXY_PLAIN_HTTP": "true"}, {"webhook"}, {"akua-ca", "akua-webhook-tls"}),
        ({"AKUA_CERTIFICATES": "external"}, {"proxy", "webhook"}, {"akua-webhook-tls", "akua-proxy-tls"}),
    ],
)
def test_what_is_served_and_read(tmp_path: Path, given: dict[str, str], served: set[str], read: set[str]) -> None:
    process = Process(settings(**given), tmp_path)
    process._listeners(DeferredApp(), WebhookApp(None, Telemetry()))
    assert set(process.certificates) == served
    assert process._system_secrets().optional == read


def test_a_proxy_reads_no_ca_key(tmp_path: Path) -> None:
    process = Process(settings(), tmp_path, webhook=False)
    process._listeners(DeferredApp(), WebhookApp(None, Telemetry()))
    secrets = process._system_secrets()
    assert secrets.names == {"akua-install-token-jwks", "akua-access-token-keys", "akua-proxy-tls"}


async def test_a_bug_in_one_piece_of_work_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.leader_chores._PAUSE_SECONDS", 0.0)
    begun: list[int] = []

    async def work() -> None:
        begun.append(1)
        raise RuntimeError("a bug")

    task = asyncio.create_task(steadily("certificates", work))
    await until(lambda: len(begun) > 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_bug_in_the_care_for_keys_interrupts_no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.leader_chores._PAUSE_SECONDS", 0.0)
    begun: list[str] = []

    class Work:
        def __init__(self, name: str, *, fails: bool) -> None:
            self.name, self.fails = name, fails

        async def run(self) -> None:
            begun.append(self.name)
            if self.fails:
                raise RuntimeError("a bug")
            await asyncio.Event().wait()

    care, sync = Work("care", fails=True), Work("sync", fails=False)
    nothing: Any = None
    parts = InstallSyncParts(nothing, sync, nothing, care, nothing, nothing, {}, Telemetry())  # type: ignore[arg-type]
    task = asyncio.create_task(parts._work())
    await until(lambda: begun.count("care") > 2)
    assert begun.count("sync") == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

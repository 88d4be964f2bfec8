"""What pulls leave in the status of installs and credentials."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.reporting.usage_report import UsageReport
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result
from registry_access.model.errors import StateUnavailable
from registry_access.model.resources import Install, Key, Kind
from registry_access.state.directory.store import DirectoryStore
from tests.support.proxied_world import WORKSPACE, World, resource
from tests.support.state_conformance import until


async def test_pulls_and_refusals_show_in_the_status(akua: World) -> None:
    token = await akua.install("shop")
    path = akua.path("acme/app", "manifests", "1.0")
    for _ in range(3):
        assert (await akua.pull(token, path)).status_code == 200
    await akua.pull(token, akua.path("acme/other", "manifests", "1.0"))
    await akua.audit()
    await akua.proxy.usage.write()
    shop = akua.store.index.install(WORKSPACE, "shop")
    credential = akua.store.index.credential(WORKSPACE, "upstream")
    assert shop is not None
    assert credential is not None
    assert shop.status.last_pull_time is not None
    assert shop.status.denied_pulls == 1
    assert credential.status.last_used_time is not None
    await akua.pull(token, akua.path("acme/other", "manifests", "1.0"))
    await akua.proxy.usage.write()
    again = akua.store.index.install(WORKSPACE, "shop")
    assert again is not None
    assert again.status.denied_pulls == 2


async def test_reporting_use_costs_no_login(akua: World) -> None:
    token = await akua.install("shop")
    path = akua.path("acme/app", "manifests", "1.0")
    await akua.pull(token, path)
    tokens = set(akua.upstream._tokens)
    await akua.audit()
    await akua.proxy.usage.write()
    await akua.pull(token, path)
    assert akua.upstream._tokens == tokens


async def test_an_install_that_is_gone_is_passed_over(akua: World) -> None:
    token = await akua.install("shop")
    await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    await akua.audit()
    await akua.store.delete(Key(Kind.INSTALL, WORKSPACE, "shop"))
    await akua.proxy.usage.write()
    assert akua.store.index.install(WORKSPACE, "shop") is None


async def test_several_proxies_lose_no_count_and_turn_no_clock_back(tmp_path: Path) -> None:
    """Each of them works from an index that lags behind the others' writes."""
    stores = [DirectoryStore(tmp_path / "state", heartbeat_seconds=0.2) for _ in range(4)]
    for store in stores:
        await store.start()
    shop = resource("Install", "shop", {"repositories": ["ghcr.io/acme/app"]})
    made = await stores[0].create(shop)
    for store in stores:
        await until(lambda store=store: store.index.get(made.key) is not None)  # type: ignore[misc]
    reports = [UsageReport(store) for store in stores]
    for round_ in range(3):
        for number, report in enumerate(reports):
            report.observe(*pull(Result.REFUSED, 0))
            report.observe(*pull(Result.ALLOWED, 1_700_000_000_000 + 1000 * number + round_))
        await asyncio.gather(*(report.write() for report in reversed(reports)))
    for report in reports:
        await report.write()
    install = await stores[0].read(made.key)
    assert isinstance(install, Install)
    assert install.status.denied_pulls == 12
    assert install.status.last_pull_time == datetime.fromtimestamp(1_700_000_003, UTC)
    for store in stores:
        await store.stop()


async def test_what_could_not_be_written_is_written_later(akua: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await akua.install("shop")
    await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    await akua.pull(token, akua.path("acme/other", "manifests", "1.0"))
    await akua.audit()

    async def unavailable(*_: object, **__: object) -> None:
        raise StateUnavailable("the API server cannot be reached")

    with monkeypatch.context() as broken:
        broken.setattr(akua.store, "patch_status", unavailable)
        await akua.proxy.usage.write()
    await akua.proxy.usage.write()
    install = akua.store.index.install(WORKSPACE, "shop")
    assert install is not None
    assert install.status.denied_pulls == 1
    assert install.status.last_pull_time is not None


def pull(result: Result, time: int) -> tuple[AuditEvent, AuditOutcome]:
    event = AuditEvent("evt_1", time, "dec_1", Operation.PULL_BLOB, workspace=WORKSPACE, install="shop")
    return event, AuditOutcome("evt_1", time, result)

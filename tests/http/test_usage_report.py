"""What pulls leave in the status of installs and credentials."""

from __future__ import annotations

from registry_access.model.resources import Key, Kind
from tests.support.proxied_world import WORKSPACE, World


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

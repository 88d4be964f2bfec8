"""What real pulls meet, in the conditions of the install and the credential that they came with."""

from __future__ import annotations

from registry_access.model.resources import Condition, Key, Kind
from registry_access.model.resources.metadata import condition_of
from tests.support.proxied_world import WORKSPACE, World


async def conditions(akua: World) -> tuple[Condition | None, Condition | None]:
    """The credential's Verified, the install's Pullable."""
    await akua.audit()
    await akua.proxy.conditions.write()
    credential = akua.store.index.credential(WORKSPACE, "upstream")
    install = akua.store.index.install(WORKSPACE, "shop")
    assert credential is not None
    assert install is not None
    return condition_of(credential.status.conditions, "Verified"), condition_of(install.status.conditions, "Pullable")


async def test_a_wrong_password_shows_at_once_and_so_does_the_right_one(akua: World) -> None:
    token = await akua.install("shop")
    path = akua.path("acme/app", "manifests", "1.0")
    secret = Key(Kind.SECRET, WORKSPACE, "upstream")
    await akua.store.patch(secret, {"stringData": {"password": "canary-wrong"}})
    assert (await akua.pull(token, path)).status_code != 200
    verified, pullable = await conditions(akua)
    assert verified is not None
    assert pullable is not None
    assert (verified.status, verified.reason) == ("False", "UpstreamUnauthorized")
    assert (pullable.status, pullable.reason) == ("False", "UpstreamUnauthorized")
    assert verified.message.startswith(f"{akua.upstream_host}/acme/app: ")
    assert "canary" not in verified.message
    await akua.store.patch(secret, {"stringData": {"password": akua.upstream.password}})
    assert (await akua.pull(token, path)).status_code == 200
    verified, pullable = await conditions(akua)
    assert verified is not None
    assert pullable is not None
    assert (verified.status, verified.reason) == (pullable.status, pullable.reason) == ("True", "Opened")

"""Why pulls fail, as `kubectl describe` shows it, on a real API server."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from programs.telemetry import Telemetry
from proxy.assembly import Proxy, start_proxy
from registry_access.model.install_identity import InstallIdentity
from registry_access.model.install_token import InstallTokenClaims, mint_install_token
from registry_access.runtime.health import Health
from registry_access.settings import Settings
from registry_access.state import event_recorder
from registry_access.state.kubernetes import KubernetesStore
from registry_access.state.signing_keys import INSTALL_TOKEN_KEYS, SigningKeys, ensure_keys, publish
from tests.integration.test_install_sync import namespaces
from tests.support.install_sync import HOST, manifest
from tests.support.kubernetes import ControlPlane, control_plane
from tests.support.proxied_world import basic
from tests.support.state_conformance import until

__all__ = ["control_plane"]
PATH = "/v2/ghcr.io/acme/app/manifests/1.0"


@pytest.fixture
async def store(control_plane: ControlPlane) -> AsyncIterator[KubernetesStore]:
    namespaces(control_plane, "acme", "akua-system")
    store = KubernetesStore(control_plane.access(), heartbeat_seconds=0.5)
    await store.start()
    yield store
    control_plane.kubectl("-n", "acme", "delete", "installs,events", "--all")
    await store.stop()


@pytest.fixture
async def keys(store: KubernetesStore) -> SigningKeys:
    made = await ensure_keys(store, INSTALL_TOKEN_KEYS)
    await publish(store, made, "test")
    return made


@pytest.fixture
async def proxy(store: KubernetesStore, keys: SigningKeys, tmp_path: Path) -> AsyncIterator[Proxy]:
    settings = Settings(
        state="kubernetes",
        audit_dsn=f"sqlite:///{tmp_path / 'audit.db'}",
        audit_writer="akua-proxy-0",
        host=HOST,
        private_registries=("*",),  # registries of tests are on loopback
    )
    proxy = await start_proxy(settings, store, Telemetry(), Health())
    yield proxy
    await proxy.stop()


def token(keys: SigningKeys, install: str, uid: str) -> str:
    now = int(time.time())
    claims = InstallTokenClaims(InstallIdentity("acme", install, uid, 1), f"tok_{install}_1", now, now + 3600, HOST)
    return mint_install_token(claims, keys.active(now))


async def pull(proxy: Proxy, token: str) -> str:
    """The decision id of the refusal."""
    transport = httpx.ASGITransport(proxy.app, client=("10.0.0.7", 4321))
    async with httpx.AsyncClient(transport=transport, base_url="http://proxy.test") as client:
        headers = {"Authorization": basic(token), "User-Agent": "containerd/2.1"}
        answer = await client.get(PATH, headers=headers)
    return str(answer.headers["akua-decision"])


async def test_kubectl_describe_says_why_pulls_are_refused(
    control_plane: ControlPlane, store: KubernetesStore, proxy: Proxy, keys: SigningKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_recorder, "_REPEAT_SECONDS", 0.0)
    monkeypatch.setattr(event_recorder, "_LOOK_SECONDS", 0.05)
    shop = await store.create(manifest("Install", "shop", {"repositories": ["ghcr.io/acme/app"], "revoked": True}))
    await until(lambda: store.index.install("acme", "shop") is not None)
    decision = await pull(proxy, token(keys, "shop", shop.metadata.uid))
    for stranger in (token(keys, "nobody", "u-1"), "eyJhbGciOiJub25lIn0.e30."):
        await pull(proxy, stranger)
    described = ""

    def shows(text: str) -> bool:
        nonlocal described
        described = control_plane.kubectl("-n", "acme", "describe", "install", "shop")
        return text in described

    await until(lambda: shows("PullRefused"))
    for part in ("Warning", "akua-proxy", decision, "install-revoked", "ghcr.io/acme/app:1.0", "10.0.0.7 containerd/2.1"):
        assert part in described, described
    await pull(proxy, token(keys, "shop", shop.metadata.uid))
    await until(lambda: shows("(x2 over"))
    events = json.loads(control_plane.kubectl("-n", "acme", "get", "events.events.k8s.io", "-o", "json"))["items"]
    assert [event["regarding"]["name"] for event in events] == ["shop"], "strangers make none"
    assert events[0]["series"]["count"] == 2


async def test_what_happens_in_a_namespace_that_goes_is_dropped(
    control_plane: ControlPlane, store: KubernetesStore, proxy: Proxy, keys: SigningKeys
) -> None:
    """The Event is refused (NamespaceTerminating), or its namespace is gone; neither is tried for ever."""
    namespaces(control_plane, "passing")
    shop = await store.create(manifest("Install", "shop", {"repositories": ["ghcr.io/a"], "revoked": True}, "passing"))
    await until(lambda: store.index.install("passing", "shop") is not None)
    control_plane.kubectl("delete", "namespace", "passing", "--wait=false")
    now = int(time.time())
    claims = InstallTokenClaims(InstallIdentity("passing", "shop", shop.metadata.uid, 1), "tok_shop_1", now, now + 3600, HOST)
    await pull(proxy, mint_install_token(claims, keys.active(now)))
    await until(lambda: not proxy.events._series)
    # No controllers run here: the namespace would stay as it is.
    control_plane.kubectl("-n", "passing", "delete", "install", "shop")

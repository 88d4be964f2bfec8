"""What `kubectl get` shows of credentials and installs, on a real API server, while real pulls meet a real upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

from demo_registry.registry import UpstreamRegistry
from proxy.assembly import Proxy
from registry_access.state.kubernetes import KubernetesStore
from registry_access.state.signing_keys import SigningKeys
from tests.integration.test_events import control_plane, keys, proxy, store, token
from tests.support.install_sync import manifest
from tests.support.kubernetes import ControlPlane
from tests.support.proxied_world import basic
from tests.support.serving import served
from tests.support.state_conformance import until

__all__ = ["control_plane", "keys", "proxy", "store"]
_SECONDS = 60


async def row(plane: ControlPlane, kind: str, name: str, *conditions: str) -> list[str]:
    """The status of each condition as `kubectl get` prints it; what is not there is <none>."""
    path = ",".join(f"{each.upper()}:.status.conditions[?(@.type=='{each}')].status" for each in conditions)
    printed = await asyncio.to_thread(plane.kubectl, "-n", "acme", "get", kind, name, "-o", f"custom-columns={path}")
    return printed.splitlines()[1].split()


async def described(plane: ControlPlane, text: str) -> str:
    """`kubectl describe` of the credential once it says `text`."""
    printed = ""
    for _ in range(_SECONDS * 2):
        printed = await asyncio.to_thread(plane.kubectl, "-n", "acme", "describe", "rcred", "upstream")
        if text in printed:
            break
        await asyncio.sleep(0.5)
    assert text in printed
    return printed


async def test_what_pulls_meet_is_what_kubectl_shows_within_seconds(
    control_plane: ControlPlane, store: KubernetesStore, proxy: Proxy, keys: SigningKeys
) -> None:
    upstream = UpstreamRegistry()
    upstream.repository("acme/app").add_image([{"etc/motd": b"hello\n"}], "1.0")

    async def kubectl(*arguments: str) -> None:
        await asyncio.to_thread(control_plane.kubectl, *arguments)

    def says(type: str, status: str, reason: str = "") -> Callable[[], bool]:
        """Of the credential, or (Pullable) the install."""

        def said() -> bool:
            found = store.index.install("acme", "shop") if type == "Pullable" else store.index.credential("acme", "upstream")
            conditions = found.status.conditions if found else ()
            return any((item.type, item.status) == (type, status) and reason in item.reason for item in conditions)

        return said

    async with served(upstream.app()) as host:
        await kubectl("label", "namespace", "acme", "registry.akua.dev/workspace=true", "--overwrite")
        spec = {"registry": host, "type": "Basic", "secretName": "upstream", "insecure": True, "allowPrivateAddresses": True}
        await store.create(manifest("RegistryCredential", "upstream", spec))
        shop = await store.create(manifest("Install", "shop", {"repositories": [f"{host}/acme/app"]}))
        await until(says("Ready", "False", "SecretMissing"), _SECONDS)
        assert "kubectl -n acme create secret generic upstream" in await described(control_plane, "CredentialUnusable")
        literal = [f"--from-literal=username={upstream.username}", "--from-literal=password=canary-wrong"]
        await kubectl("-n", "acme", "create", "secret", "generic", "upstream", *literal)
        await until(says("Ready", "True"), _SECONDS)

        async def pull() -> int:
            transport = httpx.ASGITransport(proxy.app, client=("10.0.0.7", 4321))
            async with httpx.AsyncClient(transport=transport, base_url="http://proxy.test") as client:
                path = f"/v2/{host.replace(':', '_')}/acme/app/manifests/1.0"
                headers = {"Authorization": basic(token(keys, "shop", shop.metadata.uid))}
                return (await client.get(path, headers=headers)).status_code

        assert await pull() == 403
        await until(says("Verified", "False"), _SECONDS)
        await until(says("Pullable", "False"), _SECONDS)
        assert await row(control_plane, "rcred", "upstream", "Ready", "Verified") == ["True", "False"]
        assert await row(control_plane, "installs", "shop", "Pullable") == ["False"]
        assert "canary" not in await described(control_plane, f"{host}/acme/app: ")
        patch = '{"stringData":{"password":"' + upstream.password + '"}}'
        await kubectl("-n", "acme", "patch", "secret", "upstream", "--type=merge", "-p", patch)
        await until(says("Verified", "Unknown"), _SECONDS)
        assert await pull() == 200
        await until(says("Verified", "True"), _SECONDS)
        await until(says("Pullable", "True"), _SECONDS)
        assert await row(control_plane, "rcred", "upstream", "Ready", "Verified") == ["True", "True"]
        await kubectl("-n", "acme", "delete", "rcred", "upstream")

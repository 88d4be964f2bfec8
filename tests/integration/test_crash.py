"""kill -9 in the middle of a blob: the intent is in the audit trail, the chain holds, and the next process goes on."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from demo_registry.registry import UpstreamRegistry
from tests.integration.conftest import API
from tests.support.akua_process import akua_serve
from tests.support.proxied_world import basic
from tests.support.serving import served


async def test_the_intent_survives_a_kill(tmp_path: Path) -> None:
    import asyncio

    upstream = UpstreamRegistry(rate=200_000)
    image = upstream.repository("acme/app").add_image([{"data": bytes(range(256)) * 20_000}], "1.0")
    assert image
    digest = max(upstream.repositories["acme/app"].blobs, key=lambda d: len(upstream.repositories["acme/app"].blobs[d]))
    upstream.repositories["acme/app"].blobs[digest] = bytes(4_000_000)
    async with served(upstream.app()) as authority:

        def crash_and_recover() -> None:
            with akua_serve(tmp_path) as akua:
                metadata = {"namespace": "acme"}
                secret = {"username": upstream.username, "password": upstream.password}
                spec = {
                    "registry": authority,
                    "type": "Basic",
                    "secretName": "up",
                    "insecure": True,
                    "allowPrivateAddresses": True,
                }
                akua.drop(
                    "all",
                    {
                        "apiVersion": "v1",
                        "kind": "Namespace",
                        "metadata": {"name": "acme", "labels": {"registry.akua.dev/workspace": "true"}},
                    },
                    {"apiVersion": "v1", "kind": "Secret", "metadata": metadata | {"name": "up"}, "stringData": secret},
                    {"apiVersion": API, "kind": "RegistryCredential", "metadata": metadata | {"name": "up"}, "spec": spec},
                    {
                        "apiVersion": API,
                        "kind": "Install",
                        "metadata": metadata | {"name": "shop"},
                        "spec": {"repositories": [f"{authority}/acme/*"]},
                    },
                )
                headers = {"Authorization": basic(akua.token("shop"), "shop")}
                time.sleep(0.5)
                url = f"http://{akua.host}/v2/{authority.replace(':', '_')}/acme/app/blobs/{digest}"
                with httpx.stream("GET", url, headers=headers, timeout=20) as answer:
                    assert answer.status_code == 200, answer.read()
                    pieces = answer.iter_raw(1000)
                    next(pieces)
                    akua.kill()
                    with pytest.raises(httpx.TransportError):
                        list(pieces)
            with akua_serve(tmp_path) as akua:
                rows = akua.audit("--install", "shop")
                assert [(row["operation"], row["reference"], row["result"]) for row in rows] == [("pull-blob", digest, None)]
                assert akua.run("audit", "verify").returncode == 0

        await asyncio.to_thread(crash_and_recover)

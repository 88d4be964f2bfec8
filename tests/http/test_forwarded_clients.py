"""Behind a load balancer the trail has the client's address, and only the balancer's word for it counts."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from tests.support.proxied_world import basic, world

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.mark.parametrize(
    ("trusted", "client", "peer"), [(LOOPBACK, "192.0.2.7", "127.0.0.1"), ((), "127.0.0.1", "")], ids=["trusted", "not trusted"]
)
async def test_the_client_and_who_forwarded_it_are_recorded(tmp_path: Path, trusted: object, client: str, peer: str) -> None:
    async with world(tmp_path, trusted_proxies=trusted) as akua:
        token = await akua.install("shop")
        forged = {"X-Forwarded-For": "203.0.113.9, 192.0.2.7"}
        for path in (akua.path("acme/app", "manifests", "1.0"), akua.path("acme/other", "manifests", "1.0")):
            await akua.client.get(path, headers={"Authorization": basic(token), **forged})
        rows = await akua.audit(install="shop")
        assert len(rows) == 2
        assert {(row.event.client_address, row.event.peer_address) for row in rows} == {(client, peer)}

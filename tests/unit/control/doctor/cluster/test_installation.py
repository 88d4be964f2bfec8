"""The objects that an installation is made of."""

from __future__ import annotations

from typing import Any

import pytest

from control.doctor.cluster.installation import read_installation
from registry_access.settings import Settings
from tests.support.fake_cluster import APPS, SYSTEM, FakeApi, deployment

HOST = "oci.akua.dev"


@pytest.mark.parametrize(
    ("container", "host"),
    [
        ({"env": [{"name": "AKUA_HOST", "value": "named.example"}]}, "named.example"),
        ({"envFrom": [{"configMapRef": {"name": "akua-settings-1"}}, {"secretRef": {"name": "x"}}]}, "mapped.example"),
        ({"envFrom": [{"configMapRef": {"name": "gone"}}]}, HOST),
        ({}, HOST),
    ],
)
async def test_the_host_is_the_proxys_own(container: dict[str, Any], host: str) -> None:
    settings = Settings(host=HOST)
    api = FakeApi(
        {
            f"{APPS}/akua-system/deployments/akua-proxy": deployment(**container),
            f"{SYSTEM}/configmaps/akua-settings-1": {"data": {"AKUA_HOST": "mapped.example"}},
        },
        offset=None,
    )
    installation = await read_installation(api.view, settings, inside=False)
    assert (installation.host, installation.offset) == (host, None)
    assert (await read_installation(api.view, settings, inside=True)).host == HOST, "a pod has its settings"

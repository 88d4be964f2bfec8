"""What the doctor says of the machine that it runs on."""

from __future__ import annotations

import pytest

from control.doctor import machine


@pytest.mark.parametrize(
    ("host", "addresses", "said"),
    [
        ("127.0.0.1:15000", ["127.0.0.1"], "127.0.0.1 is an address, so nothing needs to resolve it"),
        ("[::1]:15000", ["::1"], "::1 is an address"),
        ("oci.akua.dev", ["192.0.2.1", "192.0.2.2"], "oci.akua.dev resolves to 192.0.2.1, 192.0.2.2 ("),
        ("oci.akua.dev", [], "oci.akua.dev does not resolve here"),
    ],
)
async def test_a_host_that_is_an_address_is_not_said_to_resolve(
    host: str, addresses: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolved(_: str) -> list[str]:
        return addresses

    monkeypatch.setattr(machine, "resolved", resolved)
    assert (await machine.name_check(host)).detail.startswith(said)

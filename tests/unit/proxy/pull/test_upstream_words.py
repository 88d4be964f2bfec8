"""What an upstream says about its refusal costs nobody else anything, whatever it says."""

from __future__ import annotations

from types import MappingProxyType
from typing import cast

import pytest

from proxy.pull.upstream_words import words_of
from proxy.upstream.network.response import UpstreamResponse
from proxy.upstream.upstreams import UpstreamAccess
from registry_access.model.workspace_secret import ResolvedSecret


class Said:
    """A refusal with this body."""

    status = 403
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed

    def __init__(self, body: str) -> None:
        self._body = body.encode()

    async def read(self, limit: int) -> bytes:
        return self._body[:limit]


async def message(body: str, secret: str) -> str:
    access = UpstreamAccess("acme", None, ResolvedSecret("1", MappingProxyType({"username": "robot", "password": secret})))
    return (await words_of(cast("UpstreamResponse", Said(body)), access)).message


# By the square of the length, or by the text's times the secret's, each of these would hold up all pulls for minutes.
@pytest.mark.parametrize("body", ["<title" * 10_000, "eyJ-" * 16_000, "a" * 64_000, "password=" * 7000])
async def test_a_refusal_is_read_in_a_time_that_its_length_bounds(body: str) -> None:
    for _ in range(10):
        assert len(await message(body, "a" * 8000 + "b")) <= 300


async def test_a_part_of_a_secret_at_the_end_of_what_is_read_is_not_shown() -> None:
    secret = "".join(f"{number:04x}" for number in range(2000))
    assert await message(f"bad password {secret}", secret) == "bad password [redacted]" or not await message(secret, secret)
    assert secret[:8] not in await message("x" * 200 + secret, secret)
    assert secret[:8] not in await message(f"{secret[:1500]} {secret}", secret)

"""Names that nobody answers for hold their own tenant's threads, and nobody else's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from registry_access.runtime.connections.name_lookup import NameLookup, tenant


class Names:
    """A resolver whose dead names block until `released`."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        if host.startswith("dead"):
            self.released.wait(30)
            raise OSError("no answer")
        return ["93.184.216.34"]


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    names.released.set()


async def test_dead_names_of_one_tenant_stall_no_other(names: Names) -> None:
    lookup = NameLookup(names, threads=4, share=2)

    async def of(whose: str, host: str) -> list[str]:
        tenant.set(whose)
        return await lookup.addresses(host)

    dead = [asyncio.create_task(of("acme", f"dead-{number}.example")) for number in range(20)]
    await asyncio.sleep(0)
    queued = asyncio.create_task(of("acme", "alive.example"))
    await asyncio.sleep(0)
    assert await asyncio.create_task(of("globex", "alive.example")) == ["93.184.216.34"]
    assert not queued.done()
    assert len([host for host in names.asked if host.startswith("dead")]) <= 2
    names.released.set()
    outcomes = await asyncio.gather(*dead, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {OSError}
    assert await queued == ["93.184.216.34"]
    assert not lookup._places
    lookup.close()


async def test_a_name_is_looked_up_once_for_all_who_wait_and_one_s_leaving_is_no_loss(names: Names) -> None:
    lookup = NameLookup(names)
    waiting = [asyncio.create_task(lookup.addresses("alive.example")) for _ in range(10)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    outcomes = await asyncio.gather(*waiting[1:])
    assert names.asked == ["alive.example"]
    assert outcomes == [["93.184.216.34"]] * 9
    lookup.close()

"""While a tenant or a stranger attacks at full rate, another workspace's pulls and pods are not refused once.

`python -m tests.bench neighbours` prints how much later they come.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.attacks import ATTACKS
from tests.support.neighbours import Street, street


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with street(tmp_path_factory.mktemp("street")) as made:
        yield made


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ATTACKS)
async def test_nobody_else_is_refused(running: Street, name: str) -> None:
    async with running.attacked(name):
        found = await running.observe(5)
        async with httpx.AsyncClient(base_url=f"http://{running.akua.operations}", timeout=10) as client:
            assert (await client.get("/livez")).status_code == 200
            ready = await client.get("/readyz")
            assert ready.status_code == 200, ready.text
    assert found.wrong == []
    assert running.akua.process.poll() is None
    # What the attack leaves behind must not stay either.
    assert (await running.observe(0)).wrong == []

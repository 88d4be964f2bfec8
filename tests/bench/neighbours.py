"""A quiet workspace's pulls and pods, alone and while each attack runs at full rate: how much later they come.

The server has one core, everybody else the other, as far as the machine has two.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from tests.bench.processes import OTHER_CORES, PROXY_CORES, Served
from tests.support.attacks import ATTACKS
from tests.support.neighbours import Observed, Street, street

SECONDS = 10.0


def main() -> None:
    """Prints p99 in milliseconds, its ratio to quiet, and what was refused."""
    with tempfile.TemporaryDirectory(prefix="akua-neighbours-") as folder:
        os.sched_setaffinity(0, OTHER_CORES)
        with street(Path(folder)) as made:
            server = Served(made.akua.host, made.akua.process.pid)
            server.pin(PROXY_CORES)
            quiet = asyncio.run(made.observe(SECONDS))
            print(f"{'':<22}{'pull p99':>10}{'ratio':>8}{'pod p99':>10}{'ratio':>8}{'wrong':>7}{'MiB':>6}")
            _show("quiet", quiet, quiet, server)
            for name in ATTACKS:
                _show(name, asyncio.run(_attacked(made, name)), quiet, server)


async def _attacked(made: Street, name: str) -> Observed:
    async with made.attacked(name):
        return await made.observe(SECONDS)


def _show(name: str, found: Observed, quiet: Observed, server: Served) -> None:
    pull, pod = _p99(found.pulls), _p99(found.pods)
    print(
        f"{name:<22}{pull * 1000:>10.1f}{pull / _p99(quiet.pulls):>8.1f}{pod * 1000:>10.1f}{pod / _p99(quiet.pods):>8.1f}"
        f"{len(found.wrong):>7}{server.resident_megabytes():>6.0f}"
    )
    for said in found.wrong[:2]:
        print(f"    {said[:160]}")


def _p99(seconds: list[float]) -> float:
    ordered = sorted(seconds)
    return ordered[len(ordered) * 99 // 100]

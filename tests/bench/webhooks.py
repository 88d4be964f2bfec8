"""Admission over TLS, our whole webhook process beside a minimal Go webhook on controller-runtime, asked the same.

Each server has one core and the load the other; rounds take turns.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.bench.admission import CLIENTS, SIZES, sized_review
from tests.bench.connection import Connection, trusting_anyone
from tests.bench.load import Load
from tests.bench.processes import OTHER_CORES, PROXY_CORES, Served, process
from tests.support.akua_process import AKUA
from tests.support.go_programs import CONTROLLER_RUNTIME_WEBHOOK, go_program
from tests.support.pods import grant
from tests.support.ports import free_port
from tests.support.tls import certificate_authority

ROUNDS = 5
SECONDS = 2.0


@dataclass
class Webhook:
    """A server, and what each kind of load brought: reviews a second, p99 in milliseconds, processor time for one."""

    name: str
    served: Served
    rates: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    late: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    costs: dict[tuple[str, int], list[float]] = field(default_factory=dict)


def main() -> None:
    """Prints reviews a second, p99, processor time and memory, with ratios."""
    with tempfile.TemporaryDirectory(prefix="akua-webhooks-") as folder, ExitStack() as stack:
        os.sched_setaffinity(0, OTHER_CORES)
        root = Path(folder)
        peer = Webhook("controller-runtime", stack.enter_context(go_webhook(root / "peer")))
        ours = Webhook("akua webhook", stack.enter_context(_akua(root / "akua")))
        for _ in range(ROUNDS):
            for size, length in SIZES.items():
                for clients in CLIENTS:
                    for webhook in (peer, ours):
                        _measure(webhook, (size, clients), sized_review(length))
        _show(peer, ours)


def _measure(webhook: Webhook, kind: tuple[str, int], request: bytes) -> None:
    if b'"patch"' not in asyncio.run(_answer(webhook, request)):
        raise RuntimeError(f"{webhook.name} did not patch the pod")
    load = Load(webhook.served.authority, request, kind[1], SECONDS, tls=trusting_anyone())
    used = webhook.served.processor_seconds()
    rate, late = load.run()
    webhook.rates.setdefault(kind, []).append(rate)
    webhook.late.setdefault(kind, []).append(late)
    webhook.costs.setdefault(kind, []).append((webhook.served.processor_seconds() - used) / len(load.latencies) * 1000)


async def _answer(webhook: Webhook, request: bytes) -> bytes:
    connection = Connection(int(webhook.served.authority.rpartition(":")[2]), trusting_anyone())
    _, answer = await connection.send(request)
    connection.close()
    return answer


@contextmanager
def go_webhook(folder: Path, *, prefix: str = "ghcr.io/acme/", cores: set[int] | None = PROXY_CORES) -> Iterator[Served]:
    """With a certificate for 127.0.0.1 from the tests' authority."""
    folder.mkdir()
    certificate = certificate_authority().issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    port = free_port()
    command = [go_program(CONTROLLER_RUNTIME_WEBHOOK), f"--port={port}", f"--certificates={folder}", f"--prefix={prefix}"]
    with process(folder, port, command, cores or os.sched_getaffinity(0)) as served:
        yield served


@contextmanager
def _akua(folder: Path) -> Iterator[Served]:
    """With the grants of twenty installs in the namespace, one of which covers the pod."""
    (folder / "state").mkdir(parents=True)
    grants = [grant(f"install-{number}", (f"ghcr.io/acme{'' if number == 0 else f'-{number}'}/*",)) for number in range(20)]
    (folder / "state" / "grants.yaml").write_text("---\n".join(json.dumps(each.to_manifest()) + "\n" for each in grants))
    port, operations = free_port(), free_port()
    settings = {
        "AKUA_STATE": f"directory:{folder / 'state'}",
        "AKUA_WEBHOOK_ADDRESS": f"127.0.0.1:{port}",
        "AKUA_OPERATIONS_ADDRESS": f"127.0.0.1:{operations}",
    }
    command = ["env", f"--chdir={folder}", *map("=".join, settings.items()), AKUA, "webhook"]
    with process(folder, operations, command, PROXY_CORES) as served:
        httpx.get(f"http://127.0.0.1:{operations}/readyz").raise_for_status()
        yield Served(f"127.0.0.1:{port}", served.pid)


def _show(peer: Webhook, ours: Webhook) -> None:
    print(f"{'':12}{'reviews/s':>22}{'p99 ms':>20}{'CPU ms each':>22}")
    print(f"{'':12}{'Go':>8}{'akua':>8}{'x':>6}{'Go':>8}{'akua':>7}{'x':>5}{'Go':>9}{'akua':>8}{'x':>5}")
    for kind in ours.rates:
        row = f"{kind[0]}, {kind[1]:<3} "
        for figure, width, digits in (("rates", 8, 0), ("late", 7, 1), ("costs", 8, 2)):
            theirs, own = (statistics.median(getattr(each, figure)[kind]) for each in (peer, ours))
            row += f"{theirs:{width}.{digits}f}{own:{width}.{digits}f}{own / theirs:6.2f}"
        print(row)
    for each in (peer, ours):
        print(f"{each.name}: {each.served.resident_megabytes():.0f} MB resident, {each.served.peak_megabytes():.0f} at most")


if __name__ == "__main__":
    main()

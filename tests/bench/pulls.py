"""Pulls: our whole proxy (token, gates, audit trail on disk, digest check) beside nginx and docker-registry's pull-through cache.

The proxy under test has one core, upstream and client the other. Medians of interleaved rounds; read the ratios, and processor
seconds rather than rates when the machine is busy.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load import Load
from tests.bench.processes import (
    OTHER_CORES,
    PROXY_CORES,
    Served,
    content_configuration,
    nginx_configuration,
    process,
    registry_configuration,
)
from tests.support.akua_process import akua_serve
from tests.support.ports import free_port
from tests.support.programs import requires_program
from tests.support.proxied_world import basic

LARGE = 256 * 1024 * 1024
SMALL = 4096
ROUNDS = 3
SMALL_SECONDS = 3.0
CLIENTS = 16
REPOSITORY = "bench/app"
API = "registry.akua.dev/v1alpha1"


@dataclass
class Subject:
    """One proxy. `name` is the repository's name at it."""

    title: str
    served: Served
    name: str = REPOSITORY
    authorization: str = ""
    rates: list[float] = field(default_factory=list)  # MB/s
    costs: list[float] = field(default_factory=list)  # processor seconds a GiB
    requests: list[float] = field(default_factory=list)  # a second
    slowest: list[float] = field(default_factory=list)  # p99, ms

    def url(self, digest: str) -> str:
        return f"http://{self.served.authority}/v2/{self.name}/blobs/{digest}"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="akua-bench-") as folder, ExitStack() as stack:
        os.sched_setaffinity(0, OTHER_CORES)
        root = Path(folder)
        upstream = stack.enter_context(_upstream(root / "upstream"))
        large, small = _add(root / "upstream", LARGE), _add(root / "upstream", SMALL)
        subjects = [
            Subject("nginx, tuned", stack.enter_context(_nginx(root / "tuned", upstream, tuned=True))),
            Subject("nginx, as installed", stack.enter_context(_nginx(root / "plain", upstream, tuned=False))),
            Subject("docker-registry pull-through", stack.enter_context(_registry(root / "cache", upstream.authority))),
            _akua(root / "akua", upstream, stack),
        ]
        cold = _cold(subjects[2], large)
        # Asked by many at once for what it does not have yet, docker-registry's cache answers some with 500.
        for subject in subjects:
            _fetch(subject, small, SMALL)
        time.sleep(1)
        for _ in range(ROUNDS):
            for subject in subjects:
                _measure_large(subject, large)
                _measure_small(subject, small)
        _show(subjects, cold)


def _measure_large(subject: Subject, digest: str) -> None:
    before, began = subject.served.processor_seconds(), time.perf_counter()
    _fetch(subject, digest, LARGE)
    subject.rates.append(LARGE / 1e6 / (time.perf_counter() - began))
    subject.costs.append((subject.served.processor_seconds() - before) * 1024**3 / LARGE)


def _measure_small(subject: Subject, digest: str) -> None:
    authorization = f"Authorization: {subject.authorization}\r\n" if subject.authorization else ""
    request = f"GET /v2/{subject.name}/blobs/{digest} HTTP/1.1\r\nHost: {subject.served.authority}\r\n{authorization}\r\n"
    rate, slowest = Load(subject.served.authority, request.encode(), CLIENTS, SMALL_SECONDS).run()
    subject.requests.append(rate)
    subject.slowest.append(slowest)


def _cold(subject: Subject, digest: str) -> float:
    """MB/s of the pull that fills the cache."""
    began = time.perf_counter()
    _fetch(subject, digest, LARGE)
    return LARGE / 1e6 / (time.perf_counter() - began)


def _fetch(subject: Subject, digest: str, size: int) -> None:
    header = ["-H", f"Authorization: {subject.authorization}"] if subject.authorization else []
    done = subprocess.run(
        [requires_program("curl"), "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", *header, subject.url(digest)],
        capture_output=True,
        text=True,
        check=True,
    )
    if done.stdout != f"200 {size}":
        raise RuntimeError(f"{subject.title} answered {done.stdout}")


def _show(subjects: list[Subject], cold: float) -> None:
    best = subjects[0]
    print(f"{'proxy':32}{'MB/s':>8}{'x nginx':>9}{'CPU s/GiB':>11}{'4 KB/s':>9}{'x nginx':>9}{'p99 ms':>8}{'RSS MB':>8}")
    for subject in subjects:
        rate, cost = statistics.median(subject.rates), statistics.median(subject.costs)
        requests, slowest = statistics.median(subject.requests), statistics.median(subject.slowest)
        ratios = (rate / statistics.median(best.rates), requests / statistics.median(best.requests))
        resident = subject.served.resident_megabytes()
        print(
            f"{subject.title:32}{rate:8.0f}{ratios[0]:9.2f}{cost:11.2f}{requests:9.0f}{ratios[1]:9.2f}{slowest:8.0f}{resident:8.0f}"
        )
    print(
        f"docker-registry pull-through, cold: {cold:.0f} MB/s (its warm line is served from its own disk; the others always ask)"
    )


def _add(folder: Path, size: int) -> str:
    content = os.urandom(size)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = folder / "v2" / REPOSITORY / "blobs" / digest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return digest


@contextmanager
def _upstream(folder: Path) -> Iterator[Served]:
    folder.mkdir(mode=0o755)
    port = free_port()
    configuration = content_configuration(folder, port)
    with process(folder, port, [requires_program("nginx"), "-c", configuration], OTHER_CORES) as served:
        yield served


@contextmanager
def _registry(folder: Path, remote: str) -> Iterator[Served]:
    folder.mkdir()
    port = free_port()
    configuration = registry_configuration(folder, port, f"http://{remote}")
    with process(folder, port, [requires_program("docker-registry"), "serve", configuration], PROXY_CORES) as served:
        yield served


@contextmanager
def _nginx(folder: Path, upstream: Served, *, tuned: bool) -> Iterator[Served]:
    folder.mkdir()
    port = free_port()
    configuration = nginx_configuration(folder, port, upstream.authority, tuned=tuned)
    with process(folder, port, [requires_program("nginx"), "-c", configuration], PROXY_CORES) as served:
        yield served


def _akua(folder: Path, upstream: Served, stack: ExitStack) -> Subject:
    running = stack.enter_context(akua_serve(folder, log_level="warning"))
    running.drop("workspace", *_resources(upstream.authority))
    served = Served(running.host, running.process.pid)
    served.pin(PROXY_CORES)
    deadline = time.monotonic() + 15
    while True:
        issued = running.run("install", "token", "bench", "--workspace", "acme", check=False)
        if issued.returncode == 0:
            break
        if time.monotonic() > deadline:
            raise RuntimeError(issued.stderr)
        time.sleep(0.2)
    name = f"{upstream.authority.replace(':', '_')}/{REPOSITORY}"
    return Subject("akua, everything on", served, name, basic(issued.stdout.strip(), "bench"))


def _resources(registry: str) -> list[Mapping[str, object]]:
    metadata = {"namespace": "acme"}
    labels = {"registry.akua.dev/workspace": "true"}
    spec = {"registry": registry, "type": "Anonymous", "insecure": True, "allowPrivateAddresses": True}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme", "labels": labels}},
        {"apiVersion": API, "kind": "RegistryCredential", "metadata": metadata | {"name": "upstream"}, "spec": spec},
        {
            "apiVersion": API,
            "kind": "Install",
            "metadata": metadata | {"name": "bench"},
            "spec": {"repositories": [f"{registry}/*"]},
        },
    ]


if __name__ == "__main__":
    main()

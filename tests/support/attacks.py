"""What one tenant, or a stranger, does to everybody else: each attack at full rate, from a process of its own.

    python -m tests.support.attacks NAME TARGET-AS-JSON

Runs until it is terminated. None of them has anything but what its attacker would have: network access to the ports, an install
token of the workspace `noisy`, or the right to write objects in that workspace.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import resource
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.connection import Connection, trusting_anyone

AT_ONCE = 16
HELD = 400
WORKSPACE = "noisy"


@dataclass(frozen=True, slots=True)
class Target:
    """Ports of 127.0.0.1. `state` is the folder of manifests; the tokens may ask for the paths `image` and `dead` below /v2/."""

    proxy: int
    webhook: int
    state: str
    token: str  # "Basic ..." of a working install of `noisy`
    revoked: str  # of a revoked one
    image: str
    dead: str
    namespace: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))


Attack = Callable[[Target], Awaitable[None]]


async def _many(one: Callable[[], Awaitable[None]], count: int) -> None:
    """`count` of them at a time, again and again, whatever becomes of each."""

    async def again() -> None:
        while True:
            with contextlib.suppress(OSError, EOFError, asyncio.IncompleteReadError, ValueError):
                await one()
            await asyncio.sleep(0)

    await asyncio.gather(*(again() for _ in range(count)))


async def _hold(port: int, first: bytes, tls: ssl.SSLContext | None = None) -> None:
    """A connection that sends something and then waits until the server has had enough."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        writer.write(first)
        await reader.read()
    finally:
        writer.transport.abort()


async def unfinished_bodies(target: Target) -> None:
    form = b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + b"x" * 1000
    await _many(lambda: _hold(target.proxy, form), HELD)


async def bodies_of_gets(target: Target) -> None:
    await _many(lambda: _hold(target.proxy, b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"), HELD)


async def handshakes(target: Target) -> None:
    """Of the webhook: nothing sent, and a ClientHello that ends in the middle."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    await _many(lambda: _hold(target.webhook, random.choice((b"", hello))), HELD)


async def unfinished_reviews(target: Target) -> None:
    head = b"POST /mutate HTTP/1.1\r\nHost: a\r\nContent-Length: 7000000\r\n\r\n" + b" " * 500_000
    await _many(lambda: _hold(target.webhook, head, trusting_anyone()), AT_ONCE)


async def large_reviews(target: Target) -> None:
    """The largest that is taken, with as many images as fit, and twice, as an update has them."""
    containers = [{"name": f"c{number}", "image": f"ghcr.io/noise/image-{number}:1"} for number in range(20_000)]
    pod = {"metadata": {"name": "big"}, "spec": {"containers": containers}}
    request: dict[str, Any] = {"uid": "1", "kind": {"kind": "Pod"}, "namespace": target.namespace, "operation": "UPDATE"}
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": request | {"object": pod, "oldObject": pod},
    }
    body = json.dumps(review).encode()
    assert len(body) < 7 * 1024 * 1024

    async def one() -> None:
        connection = Connection(target.webhook, trusting_anyone())
        try:
            await connection.request("POST", "/mutate", body)
        finally:
            connection.close()

    await _many(one, 4)


async def refused_pulls(target: Target) -> None:
    """A revoked install's token, on kept connections, each time for another tag."""
    await _pulls(target, target.revoked, lambda: f"{target.image}{random.getrandbits(64):x}")


async def unknown_callers(target: Target) -> None:
    """Nobody's token, for names as long as they may be."""
    await _pulls(
        target, "Basic bm9ib2R5Om5vdGhpbmc=", lambda: "/v2/ghcr.io/" + "a" * 200 + f"/manifests/{random.getrandbits(64):x}"
    )


async def dead_upstream(target: Target) -> None:
    """Pulls, by a working install, from a registry that takes connections and says nothing."""
    await _pulls(target, target.token, lambda: f"{target.dead}{random.getrandbits(64):x}", count=64)


async def _pulls(target: Target, authorization: str, path: Callable[[], str], count: int = AT_ONCE) -> None:
    async def one() -> None:
        connection = Connection(target.proxy)
        try:
            while True:
                await connection.request("GET", path(), headers={"Authorization": authorization})
        finally:
            connection.close()

    await _many(one, count)


async def kubeconfigs(target: Target) -> None:
    """YAML that is small and becomes large, as kubeconfigs of ten installs, changed all the time."""
    await _manifests(target, "kubeconfig", lambda number: [_kubeconfig(f"far-{number}"), *_far_install(f"far-{number}")])


async def secrets_of_nothing(target: Target) -> None:
    """Secrets that no credential names, with many short values, some of them ordinary words."""

    def secret(number: int) -> list[dict[str, Any]]:
        values = {f"key-{each}": random.choice(("refused", "pulled", "allowed")) + f"{each}" for each in range(1000)}
        return [_object("v1", "Secret", f"junk-{number}", stringData=values)]

    await _manifests(target, "junk", secret)


async def _manifests(target: Target, name: str, make: Callable[[int], list[dict[str, Any]]]) -> None:
    import yaml

    count = 0
    while True:
        for number in range(10):
            count += 1
            documents = make(number)
            for document in documents:
                document["metadata"]["labels"] = {"count": str(count)}
            file = Path(target.state) / f"attack-{name}-{number}.yaml"
            file.with_suffix(".part").write_text(yaml.safe_dump_all(documents))
            file.with_suffix(".part").replace(file)
            await asyncio.sleep(0.05)


def _object(version: str, kind: str, name: str, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": WORKSPACE}, **rest}


def _kubeconfig(name: str) -> dict[str, Any]:
    lines = ["a0: &a0 {" + ", ".join(f"k{number}: v" for number in range(10)) + "}"]
    for level in range(1, 9):
        merged = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} {{<<: [{merged}], x{level}: [{merged}]}}")
    return _object("v1", "Secret", name, stringData={"kubeconfig": "\n".join(lines) + "\n"})


def _far_install(name: str) -> list[dict[str, Any]]:
    spec = {"repositories": ["ghcr.io/noise/*"], "targets": [{"namespace": "far"}], "cluster": {"kubeconfigSecret": name}}
    return [_object("registry.akua.dev/v1alpha1", "Install", name, spec=spec)]


ATTACKS: dict[str, Attack] = {
    attack.__name__.replace("_", "-"): attack
    for attack in (
        unfinished_bodies,
        bodies_of_gets,
        handshakes,
        unfinished_reviews,
        large_reviews,
        refused_pulls,
        unknown_callers,
        dead_upstream,
        kubeconfigs,
        secrets_of_nothing,
    )
}


def main(name: str, target: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    asyncio.run(ATTACKS[name](Target(**json.loads(target))))  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Admission reviews a second: the whole webhook beside a bare application that only decodes and encodes, in one run.

Both by HTTP/1.1 on kept connections without TLS; the server on one core, the load on the other.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from programs.telemetry import Telemetry
from registry_access.model.resources import PullGrant
from registry_access.runtime.connections.limits import Limits
from registry_access.runtime.http.guarded_protocol import guarded
from registry_access.runtime.http.immediate_protocol import immediate
from tests.bench.load import Load
from tests.support.pods import grant, pod, review
from webhook.admission.app import WebhookApp

SECONDS = 3.0
SIZES = {"6 KB": 6_000, "63 KB": 63_000}
CLIENTS = (1, 16)


class _Grants:
    def __init__(self, grants: Sequence[PullGrant]) -> None:
        self._grants = grants

    def grants(self, namespace: str) -> Sequence[PullGrant]:
        return self._grants


def _whole() -> WebhookApp:
    """With a namespace that has the grants of twenty installs, one of which covers the pod."""
    patterns = ["ghcr.io/acme/*", *(f"ghcr.io/acme-{number}/*" for number in range(1, 20))]
    return WebhookApp(_Grants(tuple(grant(f"install-{number}", (text,)) for number, text in enumerate(patterns))), Telemetry())


def _bare() -> ASGIApp:
    async def mutate(request: Request) -> Response:
        asked = orjson.loads(await request.body())
        answer = {"response": {"uid": asked["request"]["uid"], "allowed": True}}
        return Response(orjson.dumps(answer), media_type="application/json")

    return Starlette(routes=[Route("/mutate", mutate, methods=["POST"])])


def main() -> None:
    """Prints reviews a second, p99 and ratios."""
    print(f"{'admission':<22}{'reviews/s':>10}{'x bare':>8}{'p99 ms':>8}")
    for size, length in SIZES.items():
        request = sized_review(length)
        for clients in CLIENTS:
            rates = {name: _measure(make, request, clients) for name, make in (("bare", _bare), ("whole", _whole))}
            for name, (rate, late) in rates.items():
                print(f"{f'{name}, {size}, {clients} cl.':<22}{rate:>10.0f}{rate / rates['bare'][0]:>8.2f}{late:>8.1f}")

    print(f"\n{'an UPDATE of 1.2 MB that brings 13,000 images':<48}{'grants':>8}{'first ms':>10}{'next ms':>9}")
    for count in (20, 5000):
        first, following = _large_update(count)
        print(f"{'':<48}{count:>8}{first:>10.0f}{following:>9.0f}")


def _large_update(count: int) -> tuple[float, float]:
    """Milliseconds for a review that arranges the namespace's grants, and for the next one."""
    given = tuple(
        grant(f"install-{number:05}", (f"ghcr.io/acme-{number}/*", f"ghcr.io/team-{number}/app")) for number in range(count)
    )
    app = WebhookApp(_Grants(given), Telemetry())
    images = [f"ghcr.io/acme-{number}/app:1" for number in range(13_000)]
    body = review(pod(*images), old=pod(*["redis"] * len(images)), operation="UPDATE")
    times = []
    for _ in range(2):
        began = time.perf_counter()
        app.reply(b"POST", b"/mutate", body)
        times.append(1000 * (time.perf_counter() - began))
    return times[0], times[1]


def _measure(make: Callable[[], ASGIApp | WebhookApp], request: bytes, clients: int) -> tuple[float, float]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = multiprocessing.get_context("fork").Process(target=_serve, args=(make, listener), daemon=True)
    server.start()
    time.sleep(1)
    try:
        return Load(f"127.0.0.1:{listener.getsockname()[1]}", request, clients, SECONDS).run()
    finally:
        server.terminate()
        server.join()
        listener.close()


def _serve(make: Callable[[], ASGIApp | WebhookApp], listener: socket.socket) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    app = make()
    protocol: Any = immediate(Limits(), app) if isinstance(app, WebhookApp) else guarded(Limits())
    config = uvicorn.Config(
        cast("ASGIApp", app), http=protocol, interface="asgi3", lifespan="off", log_config=None, access_log=False
    )
    uvicorn.Server(config).run([listener])


def sized_review(length: int) -> bytes:
    """A request about a pod of three images, one of which is not granted."""
    document: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod"} | pod(
        "ghcr.io/acme/app:1", "ghcr.io/acme/sidecar:2", "docker.io/library/redis:7"
    )
    body = review(document)
    document["metadata"]["annotations"] = {"filler": "x" * max(0, length - len(body))}
    body = review(document)
    head = b"POST /mutate HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body

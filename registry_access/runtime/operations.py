"""Liveness, readiness and metrics, on a port of their own that no client's load can fill."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from registry_access.runtime.health import Health
from registry_access.runtime.metrics import MetricSet


def create_operations_app(health: Health, telemetry: MetricSet, refresh: Callable[[], None] = lambda: None) -> Starlette:
    """`refresh` brings gauges up to date before they are read."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        failures = health.failures()
        said = {"failures": dict(failures), **health.facts()} | (
            {"concerns": dict(found)} if (found := health.concerns()) else {}
        )
        return JSONResponse({"ready": not failures, **said}, 503 if failures else 200)

    async def metrics(_: Request) -> Response:
        refresh()
        return Response(telemetry.exposition(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])

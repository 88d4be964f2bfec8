"""An upstream that answers whatever a test says."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo_registry.registry import UpstreamRegistry


class ScriptedUpstream(UpstreamRegistry):
    """An open registry that answers everything with `answer`; `asked` has the requests."""

    def __init__(self) -> None:
        super().__init__(login="")
        self.answer: Callable[[Request], Response] = lambda request: Response(status_code=404)
        self.asked: list[Request] = []

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.asked]

    def app(self) -> Starlette:
        async def content(request: Request) -> Response:
            self.asked.append(request)
            return self.answer(request)

        async def ping(request: Request) -> Response:
            return JSONResponse({})

        return Starlette(routes=[Route("/v2/", ping), Route("/v2/{rest:path}", content, methods=["GET", "HEAD"])])

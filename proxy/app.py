"""The proxy as one ASGI application: /v2/ by its raw path, everything else by Starlette's routes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.gates.authentication import Subject, authorization_header
from proxy.gates.authorization import check_install
from proxy.oci_errors import API_VERSION_HEADERS, OciError
from proxy.protocol.distribution_path import CatalogPath, InvalidPath, Ping, UploadPath, parse_distribution_path
from proxy.pull.exchange import Exchange, acknowledge
from proxy.pull.pulls import Pulls
from proxy.services import ProxyServices
from proxy.token_endpoint import TokenEndpoint
from registry_access.model.audit_event import Operation
from registry_access.model.decision import Gate, GateResult, Reason, new_decision_id
from registry_access.model.resources import Install

logger = logging.getLogger(__name__)
TOKEN_PATH = "/token"  # noqa: S105 - a path
_PREFIX = b"/v2"


def create_proxy_app(parts: ProxyServices, routes: Sequence[BaseRoute] = ()) -> ASGIApp:
    """`routes` are served beside the token endpoint and the registry (REST API, console)."""
    tokens = TokenEndpoint(parts)
    other = Starlette(
        routes=[
            Route(TOKEN_PATH, tokens.get, methods=["GET"]),
            Route(TOKEN_PATH, tokens.post, methods=["POST"]),
            *routes,
        ],
        exception_handlers={404: _not_found, 405: _not_allowed},
    )
    # Its redirect would be built from the Host header, which anybody can set.
    other.router.redirect_slashes = False
    registry = _without_leftovers(RegistryApp(parts))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raw_path: bytes = scope.get("raw_path", b"") if scope["type"] == "http" else b""
        if raw_path == _PREFIX or raw_path.startswith(_PREFIX + b"/"):
            await registry(scope, receive, send)
        else:
            await other(scope, receive, send)

    return app


def _without_leftovers(registry: ASGIApp) -> ASGIApp:
    """Logs an unexpected exception of `registry` with its traceback, and answers with a registry error that has none."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await registry(scope, receive, noting)
        except Exception:
            number = new_decision_id()
            logger.exception("unexpected error in a request for registry content (%s)", number)
            if not started:
                await OciError(500, "UNKNOWN", f"internal error; search the proxy's log for {number}").response()(
                    scope, receive, send
                )

    return app


class RegistryApp:
    """Requests below /v2/, routed by the raw path: Starlette's is decoded, and what decodes to a name need not be one."""

    def __init__(self, parts: ProxyServices) -> None:
        self._parts = parts
        self._pulls = Pulls(parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = parse_distribution_path(scope["raw_path"])
        if scope["method"] not in ("GET", "HEAD") or isinstance(path, UploadPath):
            error = OciError(405, "UNSUPPORTED", "this registry only serves pulls", headers={"Allow": "GET, HEAD"})
            await error.response()(scope, receive, send)
        elif isinstance(path, InvalidPath):
            await (await self._invalid(path, scope)).response()(scope, receive, send)
        elif isinstance(path, Ping | CatalogPath):
            response = await self._ping(scope, closed=isinstance(path, CatalogPath))
            await response(scope, receive, send)
        else:
            await self._pulls(path, scope, receive, send)

    async def _invalid(self, path: InvalidPath, scope: Scope) -> OciError:
        exchange = Exchange.outside(Operation.INVALID, scope, scope["raw_path"].decode("latin-1"))
        exchange.decision = exchange.decision.extended(GateResult(Gate.PATH, Reason.PATH_INVALID, path.detail))
        return await self._parts.refusals.refuse(exchange, code=path.code, status=path.status)

    async def _ping(self, scope: Scope, *, closed: bool) -> Response:
        """Whether the token is good. Without credentials the answer must be 401: clients take the challenge from it."""
        parts, exchange = self._parts, Exchange.outside(Operation.PING, scope)
        found: GateResult | Subject | Install = parts.authenticator.authenticate(authorization_header(scope))
        if isinstance(found, Subject):
            exchange.subject = found
            found = check_install(found.identity, parts.index, parts.moment().now)
        if isinstance(found, Install) and exchange.subject:
            acknowledge(scope, exchange.subject)
        if isinstance(found, GateResult):
            exchange.decision = exchange.decision.extended(found)
            return (await parts.refusals.refuse(exchange)).response()
        if closed:
            return OciError(403, "DENIED", "the catalog is closed; ask for a repository by name").response()
        return JSONResponse({}, headers=API_VERSION_HEADERS)


async def _not_found(*_: object) -> Response:
    return PlainTextResponse("not found\n", 404)


async def _not_allowed(*_: object) -> Response:
    return PlainTextResponse("method not allowed\n", 405)

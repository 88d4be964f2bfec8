"""The proxy as one ASGI application: /v2/ by its raw path, everything else by Starlette's routes."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.authorization import check_install
from proxy.oci_errors import API_VERSION_HEADERS, OciError, refusal_error
from proxy.parts import ProxyParts, identity_of
from proxy.pulls import Pulls
from proxy.token_endpoint import TokenEndpoint
from registry_access.model.decision import Decision, GateResult, Reason, new_decision_id
from registry_access.model.distribution_path import CatalogPath, InvalidPath, Ping, UploadPath, parse_distribution_path

TOKEN_PATH = "/token"  # noqa: S105 - a path
_PREFIX = b"/v2"
_INVALID_STATUS = {"UNSUPPORTED": 404}


def create_proxy_app(parts: ProxyParts, routes: Sequence[BaseRoute] = ()) -> ASGIApp:
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
    registry = RegistryApp(parts)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raw_path: bytes = scope.get("raw_path", b"") if scope["type"] == "http" else b""
        if raw_path == _PREFIX or raw_path.startswith(_PREFIX + b"/"):
            await registry(scope, receive, send)
        else:
            await other(scope, receive, send)

    return app


class RegistryApp:
    """Requests below /v2/. The route is found on the raw path: Starlette's is decoded, and decoding is where tricks live."""

    def __init__(self, parts: ProxyParts) -> None:
        self._parts = parts
        self._pulls = Pulls(parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = parse_distribution_path(scope["raw_path"])
        if scope["method"] not in ("GET", "HEAD") or isinstance(path, UploadPath):
            error = OciError(405, "UNSUPPORTED", "this registry only serves pulls", headers={"Allow": "GET, HEAD"})
            await error.response()(scope, receive, send)
        elif isinstance(path, InvalidPath):
            await self._invalid(path)(scope, receive, send)
        elif isinstance(path, Ping | CatalogPath):
            await self._ping(scope, closed=isinstance(path, CatalogPath))(scope, receive, send)
        else:
            await self._pulls(path, scope, receive, send)

    def _invalid(self, path: InvalidPath) -> Response:
        self._parts.telemetry.refusals.labels("path", str(Reason.PATH_INVALID)).inc()
        decision = Decision(new_decision_id(), ())
        detail = {"reason": str(Reason.PATH_INVALID), "gate": "path", "decision": decision.id}
        status = _INVALID_STATUS.get(path.code, 400)
        return OciError(status, path.code, f"{path.detail} ({decision.id})", detail).response()

    def _ping(self, scope: Scope, *, closed: bool) -> Response:
        """Whether the caller is known. Without credentials the answer must be 401: clients take the challenge from here."""
        header = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), None)
        subject = self._parts.authenticator.authenticate(header)
        found = (
            subject
            if isinstance(subject, GateResult)
            else check_install(identity_of(subject), self._parts.index, self._parts.moment().now)
        )
        if isinstance(found, GateResult):
            if found.reason is Reason.TOKEN_MISSING:
                self._parts.telemetry.challenges.inc()
            else:
                self._parts.telemetry.refusals.labels(str(found.gate), str(found.reason)).inc()
            return refusal_error(Decision(new_decision_id(), (found,)), self._parts.challenger).response()
        if closed:
            return OciError(403, "DENIED", "the catalog is not open to installs").response()
        return JSONResponse({}, headers=API_VERSION_HEADERS)


async def _not_found(*_: object) -> Response:
    return PlainTextResponse("not found\n", 404)


async def _not_allowed(*_: object) -> Response:
    return PlainTextResponse("method not allowed\n", 405)

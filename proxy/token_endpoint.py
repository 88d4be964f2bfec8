"""The token endpoint: an install token in, an access token out (distribution, "Token Authentication" and "OAuth2 Token").

`docker login` sends no scope and still gets a token. A scope that is not granted is no error: the token just opens less.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from proxy.gates.authentication import Subject, authorization_header, basic_password
from proxy.gates.authorization import check_install
from proxy.protocol.access_token import AccessTokenClaims, mint_access_token
from proxy.protocol.scope import Scope, parse_scopes
from proxy.pull.exchange import Exchange, acknowledge
from proxy.services import ProxyServices
from registry_access.model.audit_event import Operation
from registry_access.model.decision import GateResult, Reason
from registry_access.model.install_token import InstallTokenClaims
from registry_access.model.resources import Install
from registry_access.model.timestamp import rfc3339

_FORM_MAXIMUM = 64 * 1024
_SCOPES_MAXIMUM = 20  # so that the token with them stays within what a request header may hold
# Clients show no word of what a token endpoint refuses ("403 Forbidden"). An install that is known gets a token that opens
# nothing, and the pull's own refusal, which clients do show, says why.
_TOLD_BY_THE_PULL = frozenset({Reason.INSTALL_REVOKED, Reason.INSTALL_EXPIRED, Reason.NOT_A_WORKSPACE})
NO_STORE = {"Cache-Control": "no-store"}


class TokenEndpoint:
    """GET with Basic, or POST with a form; both take repeated and space-joined scopes."""

    def __init__(self, parts: ProxyServices) -> None:
        self._parts = parts

    async def get(self, request: Request) -> Response:
        token = basic_password(authorization_header(request.scope) or "")
        return await self._answer(request, token, request.query_params.getlist("scope"), scoped=False)

    async def post(self, request: Request) -> Response:
        form = await _form(request)
        if form is None:
            return _oauth_error("invalid_request", "the form is too large or not UTF-8")
        grant_type = form.get("grant_type", ["password"])[0]
        if grant_type != "password":
            return _oauth_error("unsupported_grant_type", "use grant_type=password with the install token as password")
        user, password = form.get("username", [""])[0], form.get("password", [""])[0]
        return await self._answer(request, password if user and password else None, form.get("scope", []), scoped=True)

    async def _answer(self, request: Request, token: str | None, wanted: list[str], *, scoped: bool) -> Response:
        parts, exchange = self._parts, Exchange.outside(Operation.TOKEN, request.scope, " ".join(wanted))
        found = parts.authenticator.verify(token, install_only=True) if token else parts.authenticator.authenticate(None)
        if isinstance(found, Subject):
            exchange.subject = found
            install = check_install(found.identity, parts.index, parts.moment().now)
            if not isinstance(install, GateResult):
                acknowledge(request.scope, found)
                return self._granted(found, self._entitled(install, parse_scopes(wanted)[:_SCOPES_MAXIMUM]), scoped=scoped)
            if install.reason in _TOLD_BY_THE_PULL:
                return self._granted(found, (), scoped=scoped)
            found = install
        exchange.decision = exchange.decision.extended(found)
        parts.telemetry.tokens.labels("refused", str(found.reason)).inc()
        # 401 for all of them, as for any bad credential: of another status podman and skopeo show the number and not the reason.
        return (await parts.refusals.refuse(exchange, status=401, headers=NO_STORE)).response()

    def _granted(self, subject: Subject, scopes: tuple[Scope, ...], *, scoped: bool) -> Response:
        now = int(self._parts.clock())
        # Never much longer than the install token it came from; below 60 s clients do not take it.
        lifetime = max(60, min(int(self._parts.access_token_lifetime), subject.expires_at - now))
        claims = AccessTokenClaims(
            InstallTokenClaims(
                subject.identity,
                token_id="acc_" + secrets.token_hex(12),
                issued_at=now,
                expires_at=now + lifetime,
                audience=self._parts.host,
            ),
            subject.token_id,
            scopes,
        )
        self._parts.telemetry.tokens.labels("granted", "").inc()
        minted = mint_access_token(claims, self._parts.access_key())
        body = {
            "token": minted,
            "access_token": minted,
            "expires_in": lifetime,
            "issued_at": rfc3339(now),
        }
        if scoped or scopes:
            body["scope"] = " ".join(str(scope) for scope in scopes)
        return JSONResponse(body, headers=NO_STORE)

    def _entitled(self, install: Install, scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
        """What of `scopes` this install may have: pulling, of repositories that it is entitled to."""
        entitlement = self._parts.index.entitlement(install)
        granted = []
        for scope in scopes:
            repository = scope.repository()
            if repository and "pull" in scope.actions and entitlement.covers(*repository):
                granted.append(Scope("repository", scope.name, frozenset({"pull"})))
        return tuple(dict.fromkeys(granted))


async def _form(request: Request) -> Mapping[str, list[str]] | None:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _FORM_MAXIMUM:
            return None
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=200)
    except (UnicodeDecodeError, ValueError):
        return None


def _oauth_error(code: str, description: str) -> Response:
    """RFC 6749 section 5.2."""
    return JSONResponse({"error": code, "error_description": description}, 400, headers=NO_STORE)

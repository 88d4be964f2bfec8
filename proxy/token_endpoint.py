"""The token endpoint: an install token in, an access token out (distribution, "Token Authentication" and "OAuth2 Token").

`docker login` sends no scope and still gets a token. A scope that is not granted is no error: the token just opens less.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from proxy.authentication import Subject
from proxy.authorization import check_install
from proxy.exchange import client_address, user_agent
from proxy.oci_errors import OciError, refusal_error
from proxy.parts import ProxyParts, identity_of
from registry_access.model.access_token import AccessTokenClaims, mint_access_token
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result, new_event_id
from registry_access.model.decision import Decision, GateResult, Reason, new_decision_id
from registry_access.model.entitlement import entitlement_of
from registry_access.model.errors import AuditUnavailable
from registry_access.model.install_token import InstallTokenClaims
from registry_access.model.resources import Install
from registry_access.model.scope import Scope, parse_scopes

_FORM_MAXIMUM = 64 * 1024
_SCOPES_MAXIMUM = 100
NO_STORE = {"Cache-Control": "no-store"}


class TokenEndpoint:
    """GET with Basic, or POST with a form; both take repeated and space-joined scopes."""

    def __init__(self, parts: ProxyParts) -> None:
        self._parts = parts

    async def get(self, request: Request) -> Response:
        token = _basic_password(request.headers.get("authorization", ""))
        return await self._grant(request, token, request.query_params.getlist("scope"), scoped=False)

    async def post(self, request: Request) -> Response:
        form = await _form(request)
        if form is None:
            return _oauth_error("invalid_request", "the form is too large or not UTF-8")
        grant_type = form.get("grant_type", ["password"])[0]
        if grant_type != "password":
            return _oauth_error("unsupported_grant_type", "use grant_type=password with the install token as password")
        user, password = form.get("username", [""])[0], form.get("password", [""])[0]
        return await self._grant(request, password if user and password else None, form.get("scope", []), scoped=True)

    async def _grant(self, request: Request, token: str | None, wanted: list[str], *, scoped: bool) -> Response:
        decision, install = Decision(new_decision_id(), ()), None
        subject = (
            self._parts.authenticator.verify(token, install_only=True) if token else self._parts.authenticator.authenticate(None)
        )
        refusal: GateResult | None = subject if isinstance(subject, GateResult) else None
        if isinstance(subject, Subject):
            found = check_install(identity_of(subject), self._parts.index, self._parts.moment().now)
            refusal, install = (found, None) if isinstance(found, GateResult) else (None, found)
        if refusal is not None or install is None or not isinstance(subject, Subject):
            decision = decision.extended(*([refusal] if refusal else []))
            return await self._refuse(request, decision, subject if isinstance(subject, Subject) else None)
        scopes = self._entitled(install, parse_scopes(wanted)[:_SCOPES_MAXIMUM])
        now = int(self._parts.clock())
        lifetime = max(60, min(int(self._parts.access_token_lifetime), subject.expires_at - now))
        claims = AccessTokenClaims(
            InstallTokenClaims(
                workspace=subject.workspace,
                install=subject.install,
                install_uid=subject.install_uid,
                generation=subject.generation,
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
            "issued_at": datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z"),
        }
        if scoped or scopes:
            body["scope"] = " ".join(str(scope) for scope in scopes)
        return JSONResponse(body, headers=NO_STORE)

    def _entitled(self, install: Install, scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
        """What of `scopes` this install may have: pulling, of repositories that it is entitled to."""
        product = self._parts.index.product(install.metadata.namespace, install.product) if install.product else None
        entitlement = entitlement_of(install.repositories, product.repositories if product else ())
        granted = []
        for scope in scopes:
            repository = scope.repository()
            if repository and "pull" in scope.actions and entitlement.covers(*repository):
                granted.append(Scope("repository", scope.name, frozenset({"pull"})))
        return tuple(dict.fromkeys(granted))

    async def _refuse(self, request: Request, decision: Decision, subject: Subject | None) -> Response:
        refusal = decision.refusal
        assert refusal is not None  # noqa: S101 - the callers' condition
        self._parts.telemetry.tokens.labels("refused", str(refusal.reason)).inc()
        error: OciError = refusal_error(decision, self._parts.challenger, headers=NO_STORE)
        if refusal.reason is not Reason.TOKEN_MISSING:
            self._parts.telemetry.refusals.labels(str(refusal.gate), str(refusal.reason)).inc()
            await self._record(request, decision, refusal, subject, error.status)
        return error.response()

    async def _record(
        self, request: Request, decision: Decision, refusal: GateResult, subject: Subject | None, status: int
    ) -> None:
        now = int(self._parts.clock() * 1000)
        event = AuditEvent(
            id=new_event_id(),
            time=now,
            decision_id=decision.id,
            operation=Operation.TOKEN,
            workspace=subject.workspace if subject else "",
            install=subject.install if subject else "",
            install_uid=subject.install_uid if subject else "",
            token_id=subject.token_id if subject else "",
            client_address=client_address(request.scope),
            user_agent=user_agent(request.scope),
        )
        outcome = AuditOutcome(
            event.id, now, Result.REFUSED, str(refusal.gate), str(refusal.reason), refusal.detail, status=status
        )
        try:
            await self._parts.trail.record(event, outcome)
        except AuditUnavailable:
            self._parts.telemetry.audit_failures.inc()


def _basic_password(header: str) -> str | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return password if user and password else None


async def _form(request: Request) -> Mapping[str, list[str]] | None:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _FORM_MAXIMUM:
            return None
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_SCOPES_MAXIMUM + 20)
    except (UnicodeDecodeError, ValueError):
        return None


def _oauth_error(code: str, description: str) -> Response:
    """RFC 6749 section 5.2."""
    return JSONResponse({"error": code, "error_description": description}, 400, headers=NO_STORE)

"""Registry errors, rendered in one place (distribution-spec, "Error Codes"; RFC 6750 section 3 and RFC 7617 for the challenge).

Gates and handlers decide what is refused and why; this module gives it a status, a code and headers. Exactly one scheme is
advertised: given two, oras and crane read only the first, and moby fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from registry_access.model.decision import Decision, Reason

API_VERSION_HEADERS = {"Docker-Distribution-Api-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}
RETRY_SECONDS = "5"


@dataclass(frozen=True, slots=True)
class OciError:
    """One error to answer with. `message` is a sentence for the person who reads kubelet's event."""

    status: int
    code: str
    message: str
    detail: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    phrase: str = ""  # appended to the status line, where the server supports it

    def response(self) -> Response:
        body = {"errors": [{"code": self.code, "message": self.message, "detail": dict(self.detail)}]}
        return ErrorResponse(
            json.dumps(body).encode(),
            self.status,
            {**API_VERSION_HEADERS, **self.headers},
            self.phrase,
        )


class ErrorResponse(Response):
    """JSON, with `phrase` handed to the server for the status line (`runtime.http.guarded_protocol`).

    containerd asks with HEAD first and passes only the status line on to kubelet.
    """

    media_type = "application/json"

    def __init__(self, content: bytes, status: int, headers: Mapping[str, str], phrase: str) -> None:
        super().__init__(content, status, headers)
        self.phrase = phrase

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_phrase(message: Message) -> None:
            if message["type"] == "http.response.start" and self.phrase:
                message = {**message, "akua.phrase": self.phrase}
            await send(message)

        await super().__call__(scope, receive, with_phrase)


@dataclass(frozen=True, slots=True)
class Challenger:
    """Asks for a token. `realm` comes from the settings, never from the request's Host header, which anybody can set.

    `service` is the name that images carry for the proxy.
    """

    realm: str
    service: str

    def challenge(self, scope: str = "", error: str = "", query: bytes = b"") -> dict[str, str]:
        """The WWW-Authenticate header; every value is quoted. `query` is the request's own."""
        if self._is_mirrored(query):
            return {"WWW-Authenticate": f'Basic realm="{self.service}"'}
        parameters = {"realm": self.realm, "service": self.service, "scope": scope, "error": error}
        return {"WWW-Authenticate": "Bearer " + ",".join(f'{name}="{value}"' for name, value in parameters.items() if value)}

    def _is_mirrored(self, query: bytes) -> bool:
        """Whether a containerd asks here because this proxy is its mirror of our own name, which it may not resolve or trust.

        containerd gives the mirrored name as ``ns``. The realm is at that name, so such a node cannot follow a Bearer challenge;
        Basic makes it send the install token here (docs/decisions/0004).
        """
        return b"ns=" in query and self.service in parse_qs(query.decode("latin-1")).get("ns", ())


# Reason -> (status, OCI code); docs/request-handling.md says the same.
ANSWERS: Mapping[Reason, tuple[int, str]] = {
    Reason.PATH_INVALID: (400, "NAME_INVALID"),
    Reason.TOKEN_MISSING: (401, "UNAUTHORIZED"),
    Reason.TOKEN_INVALID: (401, "UNAUTHORIZED"),
    Reason.TOKEN_EXPIRED: (401, "UNAUTHORIZED"),
    Reason.TOKEN_SUPERSEDED: (401, "UNAUTHORIZED"),
    Reason.SCOPE_INSUFFICIENT: (401, "UNAUTHORIZED"),
    Reason.INSTALL_UNKNOWN: (401, "UNAUTHORIZED"),
    Reason.INSTALL_REPLACED: (401, "UNAUTHORIZED"),
    Reason.INSTALL_REVOKED: (403, "DENIED"),
    Reason.INSTALL_EXPIRED: (403, "DENIED"),
    Reason.NOT_A_WORKSPACE: (403, "DENIED"),
    Reason.NOT_ENTITLED: (403, "DENIED"),
    Reason.CREDENTIAL_MISSING: (403, "DENIED"),
    Reason.CREDENTIAL_DISABLED: (403, "DENIED"),
    Reason.CREDENTIAL_AMBIGUOUS: (403, "DENIED"),
    Reason.SECRET_MISSING: (403, "DENIED"),
    Reason.SECRET_INVALID: (403, "DENIED"),
    Reason.SECRETS_UNREADABLE: (503, "UNAVAILABLE"),
    Reason.SECRET_BOUND: (403, "DENIED"),
    Reason.STATE_STALE: (503, "UNAVAILABLE"),
    Reason.RATE_LIMITED: (429, "TOOMANYREQUESTS"),
    Reason.AUDIT_UNAVAILABLE: (503, "UNAVAILABLE"),
    # Not 401: the client would log in to us again and again, and only the administrator can help.
    Reason.UPSTREAM_UNAUTHORIZED: (403, "DENIED"),
    Reason.UPSTREAM_DENIED: (403, "DENIED"),
    Reason.UPSTREAM_NOT_FOUND: (404, "NAME_UNKNOWN"),
    Reason.UPSTREAM_RATE_LIMITED: (429, "TOOMANYREQUESTS"),
    Reason.UPSTREAM_REFUSED: (400, "UNSUPPORTED"),  # the upstream's own status: see `upstream_refusal`
    Reason.UPSTREAM_UNREACHABLE: (502, "UNAVAILABLE"),
    Reason.UPSTREAM_FAILED: (502, "UNAVAILABLE"),
    Reason.UPSTREAM_TRUNCATED: (502, "UNAVAILABLE"),
    Reason.UPSTREAM_CORRUPT: (502, "UNAVAILABLE"),
}


# distribution-spec, "Error Codes": those that a pull can meet.
_CODES = frozenset(
    {
        "BLOB_UNKNOWN",
        "DENIED",
        "DIGEST_INVALID",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "TOOMANYREQUESTS",
        "UNSUPPORTED",
    }
)
# The code for an upstream's 4xx that brings none of its own.
_USUAL_CODES: Mapping[int, str] = {402: "DENIED", 407: "DENIED", 413: "SIZE_INVALID", 423: "DENIED", 451: "DENIED"}


def upstream_refusal(status: int, said: str, unknown: str) -> tuple[int, str]:
    """Status and code for an upstream's 4xx that is neither 401, 403 nor 429.

    `said` is the upstream's own code or "", `unknown` the code for what is not there. A 407 concerns the way from us to the
    upstream: a client could not answer it.
    """
    usual = unknown if status in (404, 410) else _USUAL_CODES.get(status, "UNSUPPORTED")
    return 403 if status == 407 else status, said if said in _CODES else usual


def refusal_error(
    decision: Decision,
    challenger: Challenger,
    *,
    scope: str = "",
    code: str = "",
    status: int = 0,
    headers: Mapping[str, str] | None = None,
    detail: Mapping[str, object] | None = None,
    query: bytes = b"",
) -> OciError:
    """The error for a decision that was refused. `code` and `status` replace what the reason gives, `headers` and `detail` are
    added to it; `query` is the request's own.

    The answer to a HEAD has no body, so the reason is in a header and in the status line too.
    """
    refusal = decision.refusal
    if refusal is None:
        raise ValueError("the decision is no refusal")
    usual_status, usual_code = ANSWERS[refusal.reason]
    status = status or usual_status
    added: dict[str, str] = {"Akua-Decision": decision.id, "Akua-Reason": str(refusal.reason), **(headers or {})}
    if status == 401:
        error = {Reason.TOKEN_MISSING: "", Reason.SCOPE_INSUFFICIENT: "insufficient_scope"}.get(refusal.reason, "invalid_token")
        # Without `error`, containerd sends the same refused token four more times.
        added |= challenger.challenge(scope, error, query)
    elif status == 503:
        added.setdefault("Retry-After", RETRY_SECONDS)
    return OciError(
        status,
        code or usual_code,
        f"{refusal.detail} ({decision.id})",
        {"reason": str(refusal.reason), "gate": str(refusal.gate), "decision": decision.id, **(detail or {})},
        added,
        f"{refusal.reason} {decision.id}",
    )

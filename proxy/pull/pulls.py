"""Manifests, blobs, tags and referrers: the eight gates in order, then the upstream's bytes.

docs/request-handling.md lists the gates, by the names used here.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from proxy.gates.authentication import Subject, authorization_header
from proxy.gates.authorization import Authorization, authorize, credential_withdrawn
from proxy.gates.upstream_gate import answer_status, judge_error, judge_status, passes
from proxy.oci_errors import refusal_error, upstream_refusal
from proxy.protocol.distribution_path import BlobPath, ManifestPath, ReferrersPath, RepositoryPath, TagsPath
from proxy.pull.exchange import Exchange, acknowledge
from proxy.pull.open_streams import OpenStream
from proxy.pull.relayed_headers import retry_after
from proxy.pull.streaming import ClientGone, Interruptible, StreamCut
from proxy.pull.upstream_answer import UpstreamAnswer, refusal_headers
from proxy.pull.upstream_words import UpstreamWords, words_of
from proxy.services import ProxyServices
from proxy.upstream.upstreams import UpstreamAccess
from registry_access.model.audit_event import Result
from registry_access.model.decision import Decision, Gate, GateResult, Reason, passed
from registry_access.model.errors import AuditUnavailable, UpstreamError
from registry_access.runtime.connections.outgoing import Outgoing

_UNKNOWN_CODES: Mapping[type[RepositoryPath], str] = {
    ManifestPath: "MANIFEST_UNKNOWN",
    BlobPath: "BLOB_UNKNOWN",
    TagsPath: "NAME_UNKNOWN",
    ReferrersPath: "NAME_UNKNOWN",
}


class Pulls:
    """Answers requests below /v2/ that name a repository."""

    def __init__(self, parts: ProxyServices) -> None:
        self._parts = parts

    async def __call__(self, path: RepositoryPath, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(path, scope)
        exchange.decision = exchange.decision.extended(passed(Gate.PATH))
        authorization = self._authorize(exchange, path, scope)
        headers: Mapping[str, str] = {}
        if exchange.decision.allowed and exchange.subject is not None:
            acknowledge(scope, exchange.subject)
            headers = await self._commit(exchange, exchange.subject)
        if not exchange.decision.allowed or exchange.subject is None:
            error = await self._parts.refusals.refuse(exchange, scope=_scope(path), headers=headers)
            await error.response()(scope, receive, send)
            return
        await _Pull(self._parts, exchange, path, authorization, exchange.subject, scope, receive, send).run()

    def _authorize(self, exchange: Exchange, path: RepositoryPath, scope: Scope) -> Authorization:
        """Gates 2 to 6, into the exchange's decision."""
        subject = self._parts.authenticator.authenticate(authorization_header(scope))
        if isinstance(subject, GateResult):
            exchange.decision = exchange.decision.extended(subject)
            return Authorization(exchange.decision)
        exchange.subject = subject
        decision = exchange.decision.extended(passed(Gate.TOKEN))
        parts = self._parts
        authorization = authorize(decision, subject.identity, path.registry, path.repository, parts.index, parts.moment())
        if authorization.decision.allowed and not subject.opens(path.client_name):
            # Only if another token would open it. Otherwise the user needs the other reason (not entitled, revoked).
            detail = f"the access token has no scope to pull {path.client_name}"
            exchange.decision = exchange.decision.extended(GateResult(Gate.TOKEN, Reason.SCOPE_INSUFFICIENT, detail))
            return Authorization(exchange.decision)
        exchange.decision = authorization.decision
        exchange.credential = authorization.credential.metadata.name if authorization.credential else ""
        return authorization

    async def _commit(self, exchange: Exchange, subject: Subject) -> Mapping[str, str]:
        """Gate 7. Headers for the refusal, if it is one."""
        exceeded = self._parts.pull_rate.take(subject.identity)
        if exceeded is not None:
            exchange.decision = exchange.decision.extended(exceeded.result)
            return {"Retry-After": str(exceeded.retry_after)}
        try:
            await self._parts.trail.begin(exchange.event())
        except AuditUnavailable as error:
            self._parts.telemetry.audit_failures.inc()
            exchange.decision = exchange.decision.extended(GateResult(Gate.AUDIT, Reason.AUDIT_UNAVAILABLE, str(error)))
        else:
            exchange.decision = exchange.decision.extended(passed(Gate.AUDIT))
        return {}


class _Pull:
    """Gate 8 and the answer, for a pull whose intent is committed. Every exit records an outcome in the audit trail."""

    def __init__(
        self,
        parts: ProxyServices,
        exchange: Exchange,
        path: RepositoryPath,
        authorization: Authorization,
        subject: Subject,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._parts = parts
        self._exchange = exchange
        self._path = path
        self._authorization = authorization
        self._subject = subject
        self._scope = scope
        self._receive = receive
        self._send = send
        self._access = UpstreamAccess(subject.identity.workspace, authorization.credential, authorization.secret)
        turn = parts.documents.turn(subject.identity.workspace)
        self._answer = UpstreamAnswer(parts.upstreams, parts.telemetry, turn, exchange, path, self._access, scope)
        self._interruptible = Interruptible(receive, self._answer.close)
        self._stream = OpenStream(subject.identity.workspace, self._refusal_now, self._cut)
        self._outgoing: Outgoing | None = scope.get("extensions", {}).get("akua.outgoing")
        self._refusal: GateResult | None = None  # the upstream's, answered in full

    async def run(self) -> None:
        exchange, result = self._exchange, Result.FAILED
        try:
            with self._parts.streams.track(self._stream):
                await self._interruptible.run(self._from_upstream())
            result = Result.FAILED if self._refusal else Result.ALLOWED
        except UpstreamError as error:
            self._refusal = judge_error(error, self._path.registry)
            await self._refuse(retry_after(getattr(error, "retry_after", "")), status=answer_status(error))
        except StreamCut:
            # The gates may pass again by now; the record needs the reason for the cut.
            self._refusal = self._stream.cut or GateResult(Gate.FRESHNESS, Reason.STATE_STALE, "the stream could not be checked")
            if exchange.status:
                result = Result.CUT
            else:
                result = Result.REFUSED
                await self._refuse({})
        except ClientGone as error:
            self._refusal = GateResult(Gate.UPSTREAM, Reason.CLIENT_CLOSED, str(error) or "the client closed its connection")
            self._drop_client()
        finally:
            if self._outgoing is not None and self._outgoing.dropped_after is not None:
                exchange.bytes = min(exchange.bytes, self._outgoing.dropped_after)
            outcome = exchange.outcome(result, self._refusal)
            self._parts.trail.finish(outcome)
            exchange.measure(self._parts.telemetry, outcome)
            exchange.log(outcome)

    async def _from_upstream(self) -> None:
        response = await self._answer.ask()
        if not passes(response.status, self._answer.asked):
            words = await words_of(response, self._access)
            self._refusal = judge_status(
                response.status, self._path.registry, self._exchange.credential, self._answer.asked, words
            )
            await self._refuse(refusal_headers(response), words)
            return
        await self._answer.send(response, self._send)

    def _refusal_now(self) -> GateResult | None:
        """The gate of 3 to 6 that no longer passes for this answer in flight, or that its credential was withdrawn; else None."""
        parts, path = self._parts, self._path
        # A decision of its own: the upstream's refusal may be part of the exchange's by now.
        asked = Decision(self._exchange.decision.id, ())
        again = authorize(asked, self._subject.identity, path.registry, path.repository, parts.index, parts.moment())
        return again.decision.refusal or credential_withdrawn(self._authorization.credential, parts.index)

    async def _refuse(self, headers: Mapping[str, str], words: UpstreamWords | None = None, *, status: int = 0) -> None:
        """Answers with the refusal, unless an answer has begun; then only a broken connection can signal it."""
        if self._exchange.status or self._refusal is None:
            return
        decision = self._exchange.decision = self._exchange.decision.extended(self._refusal)
        code = ""
        if words is not None and self._refusal.reason in (Reason.UPSTREAM_NOT_FOUND, Reason.UPSTREAM_REFUSED):
            status, code = upstream_refusal(words.status, words.code, _UNKNOWN_CODES[type(self._path)])
        error = refusal_error(
            decision,
            self._parts.challenger,
            scope=_scope(self._path),
            code=code,
            status=status,
            headers=headers,
            detail=words.detail() if words else None,
            query=self._exchange.query,
        )
        self._exchange.status = error.status
        await error.response()(self._scope, self._receive, self._send)

    def _cut(self) -> None:
        """Runs within the call that changed the state: what is buffered for the client must not leave any more."""
        if self._exchange.status:
            self._drop_client()
        self._interruptible.cut()

    def _drop_client(self) -> None:
        """Ends an unfinished answer, and discards what we and the kernel still hold for the client."""
        if self._outgoing is not None:
            self._outgoing.reset()


def _scope(path: RepositoryPath) -> str:
    return f"repository:{path.client_name}:pull"

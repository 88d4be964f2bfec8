"""Manifests, blobs, tags and referrers: the eight gates in order, then the upstream's bytes.

docs/request-handling.md describes this as a list; the names below are its words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from proxy.authorization import Authorization, authorize
from proxy.exchange import Exchange
from proxy.oci_errors import API_VERSION_HEADERS, OciError, refusal_error
from proxy.open_streams import OpenStream
from proxy.parts import ProxyParts, identity_of
from proxy.relayed_headers import encoded, next_link, paging, to_client, to_upstream
from proxy.streaming import ClientGone, CorruptBody, Interruptible, Sent, StreamCut, relay
from proxy.upstream.response import UpstreamResponse
from proxy.upstream.resumption import ResumableBody
from proxy.upstream.target import TargetKind, UpstreamTarget
from proxy.upstream.upstreams import UpstreamAccess
from proxy.upstream_gate import judge_error, judge_status
from registry_access.model.audit_event import Result
from registry_access.model.decision import Gate, GateResult, Reason, passed
from registry_access.model.digest import Digest, is_digest, parse_digest
from registry_access.model.distribution_path import BlobPath, ManifestPath, ReferrersPath, RepositoryPath, TagsPath
from registry_access.model.errors import AuditUnavailable, UpstreamError

MANIFEST_MAXIMUM = 4 * 1024 * 1024
_LIST_MAXIMUM = 4 * 1024 * 1024
_BUFFERED_MAXIMUM = 64 * 1024
_UNKNOWN_CODES: Mapping[type[RepositoryPath], str] = {
    ManifestPath: "MANIFEST_UNKNOWN",
    BlobPath: "BLOB_UNKNOWN",
    TagsPath: "NAME_UNKNOWN",
    ReferrersPath: "NAME_UNKNOWN",
}


class Pulls:
    """Answers requests below /v2/ that name a repository."""

    def __init__(self, parts: ProxyParts) -> None:
        self._parts = parts

    async def __call__(self, path: RepositoryPath, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(path, scope["method"], scope)
        exchange.decision = exchange.decision.extended(passed(Gate.PATH))
        authorization = self._authorize(exchange, path, scope)
        if not exchange.decision.allowed:
            await self._refuse(exchange, path, scope, receive, send)
            return
        try:
            await self._parts.trail.begin(exchange.event())
        except AuditUnavailable as error:
            self._parts.telemetry.audit_failures.inc()
            exchange.decision = exchange.decision.extended(GateResult(Gate.AUDIT, Reason.AUDIT_UNAVAILABLE, str(error)))
            await self._refuse(exchange, path, scope, receive, send)
            return
        exchange.committed = True
        exchange.decision = exchange.decision.extended(passed(Gate.AUDIT))
        await self._pull(exchange, path, authorization, scope, receive, send)

    def _authorize(self, exchange: Exchange, path: RepositoryPath, scope: Scope) -> Authorization:
        """Gates 2 to 6, into the exchange's decision."""
        header = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), None)
        subject = self._parts.authenticator.authenticate(header)
        if isinstance(subject, GateResult):
            exchange.decision = exchange.decision.extended(subject)
            return Authorization(exchange.decision)
        exchange.subject = subject
        decision = exchange.decision.extended(passed(Gate.TOKEN))
        parts = self._parts
        authorization = authorize(decision, identity_of(subject), path.registry, path.repository, parts.index, parts.moment())
        if authorization.decision.allowed and not subject.opens(path.client_name):
            # Only when a better token would open it: else its reason (not entitled, revoked) is what the person must read.
            detail = f"the access token has no scope to pull {path.client_name}"
            exchange.decision = exchange.decision.extended(GateResult(Gate.TOKEN, Reason.SCOPE_INSUFFICIENT, detail))
            return Authorization(exchange.decision)
        exchange.decision = authorization.decision
        exchange.credential = authorization.credential.metadata.name if authorization.credential else ""
        return authorization

    async def _pull(
        self, exchange: Exchange, path: RepositoryPath, authorization: Authorization, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Gate 8 and the answer. Every way out of here leaves an outcome in the audit trail."""
        result, refusal = Result.FAILED, None
        try:
            refusal = await self._from_upstream(exchange, path, authorization, scope, receive, send)
            result = Result.FAILED if refusal else Result.ALLOWED
        except UpstreamError as error:
            refusal = judge_error(error, path.registry)
            # Once the answer has begun only breaking the connection tells the client; the server does that on our return.
            if not exchange.status:
                retry_after = getattr(error, "retry_after", "")
                await self._answer_refusal(
                    exchange, path, refusal, scope, receive, send, {"Retry-After": retry_after} if retry_after else {}
                )
        except StreamCut:
            result = Result.CUT
            refusal = self._refusal_now(exchange, path)
            if refusal is not None and not exchange.status:
                result = Result.REFUSED
                await self._answer_refusal(exchange, path, refusal, scope, receive, send, {})
        except ClientGone:
            refusal = GateResult(Gate.UPSTREAM, Reason.PASSED, "the client closed its connection")
        finally:
            outcome = exchange.outcome(result, refusal)
            self._parts.trail.finish(outcome)
            self._measure(exchange, result, refusal)
            exchange.log(outcome)

    async def _from_upstream(
        self, exchange: Exchange, path: RepositoryPath, authorization: Authorization, scope: Scope, receive: Receive, send: Send
    ) -> GateResult | None:
        """Asks the upstream and relays its answer. Returns the refusal when it is one that was answered in full."""
        subject = exchange.subject
        assert subject is not None  # noqa: S101 - the token gate has passed
        access = UpstreamAccess(subject.workspace, authorization.credential, authorization.secret)
        target, headers = _target(path, scope), to_upstream(scope["headers"], blob=isinstance(path, BlobPath))
        interruptible: Interruptible
        current: list[ResumableBody | UpstreamResponse] = []

        def close_upstream() -> None:
            for response in current:
                response.close()

        answered: list[GateResult | None] = [None]

        async def work() -> None:
            response = await self._ask(access, scope["method"], target, headers)
            current.append(response)
            refusal = judge_status(response.status, path.registry, exchange.credential)
            answered[0] = refusal
            if refusal is not None:
                await self._answer_refusal(exchange, path, refusal, scope, receive, send, to_client_refused(response))
                return
            await self._relay(exchange, path, response, access, target, headers, current, scope, send)

        interruptible = Interruptible(receive, close_upstream)
        stream = OpenStream(subject.workspace, lambda: self._refusal_now(exchange, path), interruptible.cut)
        with self._parts.streams.track(stream):
            await interruptible.run(work())
        return answered[0]

    async def _ask(
        self, access: UpstreamAccess, method: str, target: UpstreamTarget, headers: dict[str, str]
    ) -> UpstreamResponse:
        response = await self._parts.upstreams.request(access, method, target, headers)
        # public.ecr.aws answers 401 to the HEAD of a blob and serves its GET.
        if method == "HEAD" and target.kind is TargetKind.BLOBS and response.status in (401, 405):
            response.close()
            response = await self._parts.upstreams.request(access, "GET", target, headers)
        return response

    async def _relay(
        self,
        exchange: Exchange,
        path: RepositoryPath,
        response: UpstreamResponse,
        access: UpstreamAccess,
        target: UpstreamTarget,
        asked: dict[str, str],
        current: list[ResumableBody | UpstreamResponse],
        scope: Scope,
        send: Send,
    ) -> None:
        """Sends an answer that is to be passed on."""
        headers = API_VERSION_HEADERS | to_client(response.headers)
        if isinstance(path, TagsPath | ReferrersPath):
            headers |= next_link(response.headers, f"/v2/{path.client_name}/{_list_suffix(path)}")
        exchange.digest = headers.get("Docker-Content-Digest", "") or (str(path.digest) if isinstance(path, BlobPath) else "")
        if scope["method"] == "HEAD" or response.status in (304, 416):
            if response.length is not None and response.status != 416:
                headers["Content-Length"] = str(response.length)
            if isinstance(path, BlobPath):
                headers.setdefault("Docker-Content-Digest", str(path.digest))
            await self._send_whole(exchange, response.status, headers, b"", send)
            return
        if isinstance(path, BlobPath):
            await self._relay_blob(exchange, path, response, access, target, asked, headers, current, send)
            return
        body = await response.read(MANIFEST_MAXIMUM if isinstance(path, ManifestPath) else _LIST_MAXIMUM)
        if isinstance(path, ManifestPath):
            headers["Docker-Content-Digest"] = exchange.digest = _checked_digest(path, headers, body)
        elif isinstance(path, TagsPath):
            body = _tags(body, path)
        await self._send_whole(exchange, response.status, headers | {"Content-Length": str(len(body))}, body, send)

    async def _relay_blob(
        self,
        exchange: Exchange,
        path: BlobPath,
        response: UpstreamResponse,
        access: UpstreamAccess,
        target: UpstreamTarget,
        asked: dict[str, str],
        headers: dict[str, str],
        current: list[ResumableBody | UpstreamResponse],
        send: Send,
    ) -> None:
        headers.setdefault("Docker-Content-Digest", str(path.digest))
        headers.setdefault("Content-Type", "application/octet-stream")
        # A part of a blob has no digest of its own to be checked against.
        digest = path.digest if response.status == 200 else None
        if response.length is not None and response.length <= _BUFFERED_MAXIMUM:
            body = await response.read(_BUFFERED_MAXIMUM)
            _check(digest, body)
            await self._send_whole(exchange, response.status, headers | {"Content-Length": str(len(body))}, body, send)
            return
        if response.length is not None:
            headers["Content-Length"] = str(response.length)
        body_pieces = ResumableBody(self._parts.upstreams, access, target, asked, response)
        current.append(body_pieces)
        exchange.status = response.status
        sent = Sent()
        try:
            start = {"type": "http.response.start", "status": response.status, "headers": encoded(headers)}
            await relay(send, start, body_pieces.pieces(), digest, sent)
        finally:
            exchange.bytes = sent.bytes
            self._parts.telemetry.bytes.inc(sent.bytes)

    async def _send_whole(self, exchange: Exchange, status: int, headers: Mapping[str, str], body: bytes, send: Send) -> None:
        exchange.status = status
        await send({"type": "http.response.start", "status": status, "headers": encoded(headers)})
        await send({"type": "http.response.body", "body": body})
        exchange.bytes = len(body)
        self._parts.telemetry.bytes.inc(len(body))

    def _refusal_now(self, exchange: Exchange, path: RepositoryPath) -> GateResult | None:
        """Gates 3 to 6 asked again, for a stream in flight."""
        subject = exchange.subject
        assert subject is not None  # noqa: S101 - the token gate has passed
        parts = self._parts
        again = authorize(exchange.decision, identity_of(subject), path.registry, path.repository, parts.index, parts.moment())
        return again.decision.refusal

    async def _refuse(self, exchange: Exchange, path: RepositoryPath, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a refusal of gates 2 to 7, and records it where there is somebody to record."""
        refusal = exchange.decision.refusal
        assert refusal is not None  # noqa: S101 - that is why we are here
        if refusal.reason is Reason.TOKEN_MISSING:
            self._parts.telemetry.challenges.inc()
        elif refusal.reason is not Reason.AUDIT_UNAVAILABLE:
            exchange.status = self._error(exchange, path).status
            outcome = exchange.outcome(Result.REFUSED, refusal)
            try:
                await self._parts.trail.record(exchange.event(), outcome)
            except AuditUnavailable:
                # It is refused all the same; the metric and the log line say what the trail could not.
                self._parts.telemetry.audit_failures.inc()
            self._measure(exchange, Result.REFUSED, refusal)
            exchange.log(outcome)
        else:
            self._measure(exchange, Result.REFUSED, refusal)
            exchange.log(exchange.outcome(Result.REFUSED, refusal))
        await self._error(exchange, path).response()(scope, receive, send)

    async def _answer_refusal(
        self,
        exchange: Exchange,
        path: RepositoryPath,
        refusal: GateResult,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Mapping[str, str],
    ) -> None:
        """Answers a refusal of gate 8."""
        exchange.decision = exchange.decision.extended(refusal)
        error = self._error(exchange, path, headers)
        exchange.status = error.status
        response: Response = error.response()
        await response(scope, receive, send)

    def _error(self, exchange: Exchange, path: RepositoryPath, headers: Mapping[str, str] | None = None) -> OciError:
        refusal = exchange.decision.refusal
        unknown = refusal is not None and refusal.reason is Reason.UPSTREAM_NOT_FOUND
        return refusal_error(
            exchange.decision,
            self._parts.challenger,
            scope=f"repository:{path.client_name}:pull",
            code=_UNKNOWN_CODES[type(path)] if unknown else "",
            headers=headers,
        )

    def _measure(self, exchange: Exchange, result: Result, refusal: GateResult | None) -> None:
        telemetry = self._parts.telemetry
        telemetry.pulls.labels(str(exchange.operation), str(result)).inc()
        if refusal is not None and not refusal.passed:
            telemetry.refusals.labels(str(refusal.gate), str(refusal.reason)).inc()
        outcome = exchange.outcome(result)
        telemetry.pull_seconds.labels(str(exchange.operation)).observe(outcome.duration / 1000)


def to_client_refused(response: UpstreamResponse) -> dict[str, str]:
    """The headers of an upstream's refusal that help a client: when to come again, and how much is left."""
    kept = ("Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "Docker-RateLimit-Source")
    return {name: value for name, value in to_client(response.headers).items() if name in kept}


def _target(path: RepositoryPath, scope: Scope) -> UpstreamTarget:
    if isinstance(path, ManifestPath):
        return UpstreamTarget(path.registry, path.repository, TargetKind.MANIFESTS, path.reference)
    if isinstance(path, BlobPath):
        return UpstreamTarget(path.registry, path.repository, TargetKind.BLOBS, str(path.digest))
    query = paging(scope.get("query_string", b""))
    if isinstance(path, ReferrersPath):
        return UpstreamTarget(path.registry, path.repository, TargetKind.REFERRERS, str(path.digest), query)
    return UpstreamTarget(path.registry, path.repository, TargetKind.TAGS, "", query)


def _list_suffix(path: TagsPath | ReferrersPath) -> str:
    return "tags/list" if isinstance(path, TagsPath) else f"referrers/{path.digest}"


def _tags(body: bytes, path: TagsPath) -> bytes:
    """The list with the client's name for the repository; what is no list of tags is passed on as it came."""
    try:
        listed = json.loads(body)
    except ValueError:
        return body
    if not isinstance(listed, dict):
        return body
    tags = listed.get("tags")
    return json.dumps({"name": path.client_name, "tags": sorted(tags) if isinstance(tags, list) else []}).encode()


def _check(digest: Digest | None, body: bytes) -> None:
    if digest is not None:
        hasher = digest.hasher()
        hasher.update(body)
        if not digest.matches(hasher):
            raise CorruptBody(f"the upstream's bytes do not have the digest {digest}")


def _checked_digest(path: ManifestPath, headers: Mapping[str, str], body: bytes) -> str:
    """The manifest's digest: what was asked for, else what the upstream says, else computed; checked in the first two cases."""
    said = path.reference if path.digest else headers.get("Docker-Content-Digest", "")
    if is_digest(said):
        _check(parse_digest(said), body)
        return said
    return f"sha256:{hashlib.sha256(body).hexdigest()}"

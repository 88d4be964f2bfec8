"""`POST /mutate`: an AdmissionReview in, an answer out, from memory. Never a 500: our bug must not stop a cluster's pods."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from registry_access.model.errors import InvalidInput
from registry_access.model.resources import PullGrant
from registry_access.runtime.telemetry import Telemetry
from webhook.admission.review import AdmissionRequest, decode_review, encode_answer
from webhook.admission.rewriting import Rewriting, rewrite_pod

logger = logging.getLogger(__name__)
BODY_MAXIMUM = 7 * 1024 * 1024
BODY_SECONDS = 5.0


class GrantSource(Protocol):
    """All that admission knows: the pull grants of a namespace, from memory."""

    def grants(self, namespace: str) -> Sequence[PullGrant]: ...


Observer = Callable[[AdmissionRequest, Rewriting], None]


def create_webhook_app(grants: GrantSource, telemetry: Telemetry, observer: Observer | None = None) -> Starlette:
    """`observer` is told of every rewriting that is not a dry run; it must not block."""

    async def mutate(request: Request) -> Response:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read(request)
        except TimeoutError:
            return PlainTextResponse("the body did not arrive in time\n", 408, {"Connection": "close"})
        except ClientDisconnect:
            return PlainTextResponse("", 400)
        if body is None:
            return PlainTextResponse(f"the body is larger than {BODY_MAXIMUM} bytes\n", 413, {"Connection": "close"})
        try:
            asked = decode_review(body)
        except InvalidInput as error:
            telemetry.admission_reviews.labels("", "invalid").inc()
            return PlainTextResponse(f"{error}\n", 400)
        answer = _answer(asked, grants, telemetry, observer)
        telemetry.admission_seconds.observe(time.perf_counter() - began)
        return Response(answer, media_type="application/json")

    return Starlette(routes=[Route("/mutate", mutate, methods=["POST"])])


def _answer(asked: AdmissionRequest, grants: GrantSource, telemetry: Telemetry, observer: Observer | None) -> bytes:
    operation = asked.operation if asked.operation in ("CREATE", "UPDATE") else "other"
    try:
        rewriting = Rewriting()
        if asked.kind == "Pod":
            found = grants.grants(asked.namespace)
            rewriting = rewrite_pod(asked.object, asked.old_object, asked.operation, asked.subresource, found)
        answer = encode_answer(asked.uid, rewriting.operations, rewriting.warnings)
        if observer is not None and not asked.dry_run and rewriting.outcomes:
            observer(asked, rewriting)
    except Exception:
        logger.exception("a review was answered without rewriting", extra={"namespace": asked.namespace})
        telemetry.admission_reviews.labels(operation, "error").inc()
        return encode_answer(asked.uid, warnings=["akua: an internal error; images were not rewritten"])
    telemetry.admission_reviews.labels(operation, "patched" if rewriting.operations else "unchanged").inc()
    for outcome in rewriting.outcomes:
        telemetry.admission_images.labels(str(outcome)).inc()
    return answer


async def _read(request: Request) -> bytes | None:
    """The body, or None when it is too large."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > BODY_MAXIMUM:
        return None
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > BODY_MAXIMUM:
            return None
        pieces.append(piece)
    return b"".join(pieces)

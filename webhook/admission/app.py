"""`POST /mutate`: an AdmissionReview in, an answer out, from memory. Never a 500: our bugs must not stop a cluster's pods."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from registry_access.model.errors import InvalidInput
from registry_access.model.resources import PullGrant
from registry_access.runtime.http.held_bodies import HeldBodies
from registry_access.runtime.http.immediate_protocol import Reply, text_reply
from registry_access.runtime.http.request_sender import UNKNOWN_SENDER, Sender
from webhook.admission.api_servers import ApiServers
from webhook.admission.grant_index import GrantIndexes
from webhook.admission.review import AdmissionRequest, ReviewTooComplex, decode_review, encode_answer
from webhook.admission.rewriting import Rewriting, rewrite_pod
from webhook.metrics import WebhookMetrics

logger = logging.getLogger(__name__)
PATH = b"/mutate"
BODY_MAXIMUM = 7 * 1024 * 1024  # an API server takes requests of 3 MiB; a review of an update has the pod twice
BODY_SECONDS = 5.0
HELD_MAXIMUM = 32 * 1024 * 1024
_LOG_SECONDS = 60.0
_REFUSALS = {408: "too-slow", 413: "too-large", 503: "overload"}  # metric labels


class GrantSource(Protocol):
    """All that admission knows: the pull grants of a namespace, from memory."""

    def grants(self, namespace: str) -> Sequence[PullGrant]: ...


Observer = Callable[[AdmissionRequest, Rewriting], None]


class WebhookApp:
    """An ImmediateApp. `observer` is called with every rewriting that is not a dry run; it must not block.

    With `api_servers` it is called only with what an API server sent; without, nobody can tell, and it is called with all.

    `grants` may come later; until then every review is refused, and the API server goes by its failure policy. `held_maximum`
    bounds the bytes of unfinished reviews.
    """

    body_maximum = BODY_MAXIMUM
    body_seconds = BODY_SECONDS

    def __init__(
        self,
        grants: GrantSource | None,
        telemetry: WebhookMetrics,
        observer: Observer | None = None,
        *,
        api_servers: ApiServers | None = None,
        held_maximum: int = HELD_MAXIMUM,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.grants = grants
        self.observer = observer
        self.bodies = HeldBodies(held_maximum, telemetry.admission_held_bytes.set)
        self._api_servers = api_servers
        self._telemetry = telemetry
        self._clock = clock
        self._logged: dict[str, float] = {}
        self._indexes = GrantIndexes()

    def reply(self, method: bytes, path: bytes, body: bytes) -> Reply:
        return self.reply_to(UNKNOWN_SENDER, method, path, body)

    def reply_to(self, sender: Sender, method: bytes, path: bytes, body: bytes) -> Reply:
        """See Discerning."""
        if path != PATH:
            return text_reply(404, "only POST /mutate is here")
        if method != b"POST":
            return text_reply(405, "use POST", (b"allow", b"POST"))
        if self.grants is None:
            self._refuse("not-ready", len(body))
            return text_reply(503, "the state has not been read yet", (b"retry-after", b"1"))
        began = time.perf_counter()
        verified = self._api_servers is None or self._api_servers.sent(sender)
        if not verified:
            self._telemetry.admission_unverified.inc()
            if self._api_servers is not None and self._api_servers.refuses:
                self._refuse("unverified", len(body))
                return text_reply(401, "only API servers are answered here", (b"www-authenticate", b"Bearer"))
        try:
            asked = decode_review(body)
        except ReviewTooComplex as error:
            self._refuse("too-complex", len(body))
            return text_reply(413, str(error))
        except InvalidInput as error:
            self._telemetry.admission_reviews.labels("", "invalid").inc()
            return text_reply(400, str(error))
        answer = self._answer(asked, self.grants, recorded=verified)
        self._telemetry.admission_seconds.observe(time.perf_counter() - began)
        return Reply(200, answer)

    def refused(self, status: int, size: int) -> None:
        """See Watchful."""
        self._refuse(_REFUSALS.get(status, "invalid"), size)

    def _refuse(self, outcome: str, size: int) -> None:
        """Counted each time, logged once a minute: anybody can send such requests."""
        self._telemetry.admission_reviews.labels("", outcome).inc()
        now = self._clock()
        if now - self._logged.get(outcome, -_LOG_SECONDS) >= _LOG_SECONDS:
            self._logged[outcome] = now
            logger.warning(
                "an admission review was refused (%s, %d bytes); if it was the API server's, its pod keeps the images as written",
                outcome,
                size,
            )

    def _answer(self, asked: AdmissionRequest, source: GrantSource, *, recorded: bool) -> bytes:
        operation = asked.operation if asked.operation in ("CREATE", "UPDATE") else "other"
        try:
            rewriting = Rewriting()
            if asked.is_pod:
                grants = self._indexes.of(asked.namespace, source.grants(asked.namespace))
                rewriting = rewrite_pod(asked.object, asked.old_object, asked.operation, asked.subresource, grants)
            answer = encode_answer(asked.uid, rewriting.operations, rewriting.warnings)
            if self.observer is not None and recorded and not asked.dry_run and rewriting.outcomes:
                self.observer(asked, rewriting)
        except Exception:
            logger.exception("a review was answered without rewriting", extra={"namespace": asked.namespace})
            self._telemetry.admission_reviews.labels(operation, "error").inc()
            return encode_answer(asked.uid, warnings=["akua: an internal error; images were not rewritten"])
        self._telemetry.admission_reviews.labels(operation, "patched" if rewriting.operations else "unchanged").inc()
        for outcome, count in Counter(rewriting.outcomes).items():
            self._telemetry.admission_images.labels(str(outcome)).inc(count)
        return answer

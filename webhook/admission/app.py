"""`POST /mutate`: an AdmissionReview in, an answer out, from memory. Never a 500: our bugs must not stop a cluster's pods."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from registry_access.model.errors import InvalidInput
from registry_access.model.resources import PullGrant
from registry_access.runtime.immediate_protocol import Reply, text_reply
from webhook.admission.grant_index import GrantIndexes
from webhook.admission.review import AdmissionRequest, decode_review, encode_answer
from webhook.admission.rewriting import Rewriting, rewrite_pod
from webhook.metrics import WebhookMetrics

logger = logging.getLogger(__name__)
PATH = b"/mutate"
BODY_MAXIMUM = 7 * 1024 * 1024
BODY_SECONDS = 5.0


class GrantSource(Protocol):
    """All that admission knows: the pull grants of a namespace, from memory."""

    def grants(self, namespace: str) -> Sequence[PullGrant]: ...


Observer = Callable[[AdmissionRequest, Rewriting], None]


class WebhookApp:
    """An ImmediateApp. `observer` is called with every rewriting that is not a dry run; it must not block."""

    body_maximum = BODY_MAXIMUM
    body_seconds = BODY_SECONDS

    def __init__(self, grants: GrantSource, telemetry: WebhookMetrics, observer: Observer | None = None) -> None:
        self._grants = grants
        self._telemetry = telemetry
        self._observer = observer
        self._indexes = GrantIndexes()

    def reply(self, method: bytes, path: bytes, body: bytes) -> Reply:
        if path != PATH:
            return text_reply(404, "only POST /mutate is here")
        if method != b"POST":
            return text_reply(405, "use POST", (b"allow", b"POST"))
        began = time.perf_counter()
        try:
            asked = decode_review(body)
        except InvalidInput as error:
            self._telemetry.admission_reviews.labels("", "invalid").inc()
            return text_reply(400, str(error))
        answer = self._answer(asked)
        self._telemetry.admission_seconds.observe(time.perf_counter() - began)
        return Reply(200, answer)

    def _answer(self, asked: AdmissionRequest) -> bytes:
        operation = asked.operation if asked.operation in ("CREATE", "UPDATE") else "other"
        try:
            rewriting = Rewriting()
            if asked.is_pod:
                grants = self._indexes.of(asked.namespace, self._grants.grants(asked.namespace))
                rewriting = rewrite_pod(asked.object, asked.old_object, asked.operation, asked.subresource, grants)
            answer = encode_answer(asked.uid, rewriting.operations, rewriting.warnings)
            if self._observer is not None and not asked.dry_run and rewriting.outcomes:
                self._observer(asked, rewriting)
        except Exception:
            logger.exception("a review was answered without rewriting", extra={"namespace": asked.namespace})
            self._telemetry.admission_reviews.labels(operation, "error").inc()
            return encode_answer(asked.uid, warnings=["akua: an internal error; images were not rewritten"])
        self._telemetry.admission_reviews.labels(operation, "patched" if rewriting.operations else "unchanged").inc()
        for outcome, count in Counter(rewriting.outcomes).items():
            self._telemetry.admission_images.labels(str(outcome)).inc(count)
        return answer

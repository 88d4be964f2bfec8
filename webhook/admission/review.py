"""AdmissionReview v1, decoded and encoded (admission.k8s.io/v1). Anybody may send one: nothing in it is taken for granted."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from registry_access.model.errors import InvalidInput

API_VERSION = "admission.k8s.io/v1"
_WARNING_MAXIMUM = 256  # what the API server passes on whole
_WARNINGS_MAXIMUM = 16


_DECODED_MAXIMUM = 64 * 1024 * 1024
# About what Python takes for a value that begins with, or follows, one of these (within a factor of two, measured on the worst
# mixtures); text itself is counted by the body's length.
_COSTS = ((b"{", 72), (b"[", 72), (b",", 96), (b":", 112))


class ReviewTooComplex(InvalidInput):
    """Decoding would take more memory than a review may."""


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """`object` and `old_object` are pods as plain mappings, {} when absent."""

    uid: str
    operation: str
    subresource: str
    namespace: str
    kind: str
    object: Mapping[str, Any]
    old_object: Mapping[str, Any]
    dry_run: bool
    group: str = ""

    @property
    def is_pod(self) -> bool:
        """A Pod of core/v1, not another API group's kind of that name."""
        return self.kind == "Pod" and not self.group


def decode_review(body: bytes) -> AdmissionRequest:
    """Raises InvalidInput for anything but an AdmissionReview v1, such as bad JSON, NaN, lone surrogates or endless nesting."""
    if decoded_size(body) > _DECODED_MAXIMUM:
        raise ReviewTooComplex("the review has too many values")
    try:
        review = orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError):
        raise InvalidInput("the body is not JSON") from None
    if not isinstance(review, dict) or review.get("kind") != "AdmissionReview" or review.get("apiVersion") != API_VERSION:
        raise InvalidInput(f"the body is not an AdmissionReview of {API_VERSION}")
    request = review.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str) or not request["uid"]:
        raise InvalidInput("the review has no request with a uid")
    kind = _mapping(request.get("kind"))
    return AdmissionRequest(
        uid=request["uid"],
        operation=_text(request.get("operation")),
        subresource=_text(request.get("subResource")),
        namespace=_text(request.get("namespace")),
        kind=_text(kind.get("kind")),
        object=_mapping(request.get("object")),
        old_object=_mapping(request.get("oldObject")),
        dry_run=request.get("dryRun") is True,
        group=str(kind.get("group") or ""),
    )


def decoded_size(body: bytes) -> int:
    """About how many bytes of memory the decoded `body` takes; 0 for reviews that are too small to matter, as most are."""
    if len(body) * 112 <= _DECODED_MAXIMUM:
        return 0
    return len(body) + sum(body.count(mark) * cost for mark, cost in _COSTS)


def encode_answer(uid: str, operations: Sequence[Mapping[str, object]] = (), warnings: Sequence[str] = ()) -> bytes:
    """An answer that allows, with a JSON patch when there are operations."""
    response: dict[str, object] = {"uid": uid, "allowed": True}
    if operations:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(operations)).decode()}
    if warnings:
        response["warnings"] = [_warning(text) for text in warnings[:_WARNINGS_MAXIMUM]]
    return orjson.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})


def _warning(text: str) -> str:
    """HTTP's Warning header carries it: printable ASCII, bounded."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in text)
    return plain if len(plain) <= _WARNING_MAXIMUM else plain[: _WARNING_MAXIMUM - 3] + "..."


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

"""Events of the API events.k8s.io/v1: `kubectl describe` and `kubectl events` show them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from registry_access.model.cluster_words import in_cluster_words
from registry_access.model.occurrence import Occurrence, bounded_note
from registry_access.model.timestamp import rfc3339
from registry_access.state.kubernetes.client.api import FIELD_MANAGER, MERGE_PATCH, KubernetesApi

_API = "events.k8s.io/v1"
_INSTANCE_MAXIMUM = 128
_NAME_MAXIMUM = 200  # of 253, with the point and 16 digits behind it


@dataclass(frozen=True, slots=True)
class KubernetesEvents:
    """See `EventWriter`. `controller` says which part of us tells (a qualified name), `instance` which replica of it."""

    api: KubernetesApi
    controller: str
    instance: str

    async def begin(self, occurrence: Occurrence, count: int, first: datetime, last: datetime) -> str:
        key = occurrence.regarding
        name = f"{key.name[:_NAME_MAXIMUM].rstrip('.-')}.{secrets.token_hex(8)}"
        event: dict[str, Any] = {
            "apiVersion": _API,
            "kind": "Event",
            "metadata": {"name": name, "namespace": key.namespace},
            "eventTime": rfc3339(first, "microseconds"),
            "type": "Warning" if occurrence.warning else "Normal",
            "reason": occurrence.reason,
            "action": occurrence.action,
            "note": bounded_note(in_cluster_words(occurrence.note, key.namespace)),
            "reportingController": self.controller,
            "reportingInstance": self.instance[:_INSTANCE_MAXIMUM],
            "regarding": {
                "apiVersion": key.kind.api_version,
                "kind": str(key.kind),
                "namespace": key.namespace,
                "name": key.name,
                "uid": occurrence.uid,
            },
        }
        if count > 1:
            event["series"] = _series(count, last)
        await self.api.request("POST", _path(key.namespace), body=event, query={"fieldManager": FIELD_MANAGER})
        return name

    async def repeat(self, occurrence: Occurrence, name: str, count: int, last: datetime) -> None:
        """All else of an Event is immutable."""
        await self.api.request(
            "PATCH",
            f"{_path(occurrence.regarding.namespace)}/{quote(name, safe='')}",
            body={"series": _series(count, last)},
            query={"fieldManager": FIELD_MANAGER},
            content_type=MERGE_PATCH,
        )


def _path(namespace: str) -> str:
    return f"/apis/{_API}/namespaces/{quote(namespace, safe='')}/events"


def _series(count: int, last: datetime) -> dict[str, object]:
    return {"count": max(2, count), "lastObservedTime": rfc3339(last, "microseconds")}

"""Single requests to a test's API server, as an administrator or as anybody: the status and the server's words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.kubernetes import SERVER_NAME, ControlPlane

CONTENT_TYPES = {
    "PATCH": "application/merge-patch+json",
    "APPLY": "application/apply-patch+yaml",
    "JSON-PATCH": "application/json-patch+json",
    "STRATEGIC": "application/strategic-merge-patch+json",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """`message` is the Status's, "" for a success."""

    status: int
    message: str
    body: Mapping[str, Any]

    @property
    def allowed(self) -> bool:
        return self.status < 300


class ApiRequests:
    """Many a second, which kubectl is too slow for."""

    def __init__(self, plane: ControlPlane, client: httpx.Client) -> None:
        self._plane = plane
        self._client = client

    def __call__(
        self, method: str, path: str, body: object = None, *, user: str = "", token: str = "", dry_run: bool = False
    ) -> Answer:
        """`method` may be APPLY (server-side), JSON-PATCH or STRATEGIC. `user`: whom the administrator speaks as."""
        query = {"dryRun": "All"} if dry_run else {}
        headers = {"Authorization": f"Bearer {token or self._plane.token}"}
        headers["Content-Type"] = CONTENT_TYPES.get(method, "application/json")
        if user:
            headers["Impersonate-User"] = user
        if method == "APPLY":
            query |= {"fieldManager": "tests", "force": "true"}
        found = self._client.request(
            "PATCH" if method in CONTENT_TYPES else method,
            path,
            params=query or None,  # else the path's own query would be dropped
            json=body if body is not None else None,
            headers=headers,
            extensions={"sni_hostname": SERVER_NAME},
        )
        answer = found.json()
        return Answer(found.status_code, "" if found.is_success else str(answer.get("message", "")), answer)

    def apply(self, manifest: Mapping[str, Any], path: str) -> None:
        """The object as it should be, whatever was there."""
        answer = self("APPLY", path, manifest)
        assert answer.allowed, answer.message


@contextmanager
def api_requests(plane: ControlPlane) -> Iterator[ApiRequests]:
    context = ssl.create_default_context(cafile=str(plane.certificate))
    with httpx.Client(base_url=plane.server, verify=context, timeout=30, trust_env=False) as client:
        yield ApiRequests(plane, client)

"""The few questions that the start of a cluster asks its API server."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .certificates import KeyPair


class ApiClient:
    """An administrator's, by client certificate; never through a proxy of the environment."""

    def __init__(self, server: str, authority: Path, client: KeyPair) -> None:
        tls = ssl.create_default_context(cafile=str(authority))
        tls.load_cert_chain(client.certificate, client.key)
        self._server = server
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)).open

    def ready(self) -> bool:
        return self._get("/readyz") == b"ok"

    def node_ready(self, name: str) -> bool:
        """Whether the node exists with condition Ready."""
        answer = self._get(f"/api/v1/nodes/{name}")
        node: dict[str, Any] = json.loads(answer) if answer else {}
        conditions = node.get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def default_account_ready(self) -> bool:
        """Whether pods can be created in namespace default: the controller manager has made its service account."""
        return self._get("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def _get(self, path: str) -> bytes | None:
        try:
            with self._open(self._server + path, timeout=5) as answer:
                body: bytes = answer.read()
                return body
        except (urllib.error.URLError, OSError):
            return None

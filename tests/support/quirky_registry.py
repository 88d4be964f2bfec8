"""A registry over real content that answers as some registries do: legal or nearly so, and no trouble to direct clients.

The repository's last component names the quirk; the content is the same in each.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from demo_registry.image import Repository

QUIRKS = {
    "paged": "pages behind an opaque cursor, Link with its parameters in another order",
    "headless": "HEAD is 405",
    "bare": "HEAD says neither length nor digest",
    "packed": "manifests come gzip'd although identity was asked for",
    "cut": "the first answer to each request ends before its first byte",
    "twice": "Content-Length is said twice, beside 40 KB of policy",
    "signed-for-get": "blobs redirect to a URL that refuses HEAD",
}
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
_PATH = re.compile(r"/v2/acme/([a-z-]+)/(manifests|blobs|tags)/([^/]+)")


def schema_1() -> tuple[str, str]:
    """A manifest of Docker's schema 1 as libtrust signs it (the signature itself is checked by nobody), and its digest."""
    payload = json.dumps({"schemaVersion": 1, "name": "acme/signed", "tag": "1.0", "fsLayers": [], "history": []}, indent=3)
    protected = {"formatLength": len(payload) - 2, "formatTail": _base64url(payload[-2:]), "time": "2015-01-01T00:00:00Z"}
    signature = {
        "header": {"jwk": {"crv": "P-256", "kid": "TEST", "kty": "EC", "x": "AA", "y": "AA"}, "alg": "ES256"},
        "signature": _base64url("signature"),
        "protected": _base64url(json.dumps(protected)),
    }
    body = f'{payload[:-2]},\n   "signatures": {json.dumps([signature])}{payload[-2:]}'
    return body, "sha256:" + hashlib.sha256(payload.encode()).hexdigest()


def _base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


class QuirkyRegistry(ThreadingHTTPServer):
    """`asked` has method and path of every request."""

    daemon_threads = True

    def __init__(self, content: Repository) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.asked: list[tuple[str, str]] = []

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: QuirkyRegistry

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        first = (self.command, self.path) not in self.server.asked
        self.server.asked.append((self.command, self.path))
        if url.path in ("/v2/", "/v2"):
            self._send(200, b"{}", "application/json")
            return
        if url.path.startswith("/storage/"):
            self._blob(url.path.removeprefix("/storage/"), 403 if self.command == "HEAD" else 200)
            return
        match = _PATH.fullmatch(url.path)
        if match is not None and match[1] == "signed" and match[2] == "manifests":
            body, digest = schema_1()
            self._send(200, body.encode(), SCHEMA_1, {"Docker-Content-Digest": digest})
            return
        if match is None or match[1] not in QUIRKS:
            self._send(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}', "application/json")
            return
        quirk, kind, reference = match.groups()
        if quirk == "headless" and self.command == "HEAD":
            self._send(405, b"", "text/plain")
        elif quirk == "cut" and first:
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.close_connection = True
        elif kind == "tags":
            self._tags(url.query, quirk)
        elif kind == "blobs" and quirk == "signed-for-get":
            self._send(307, b"", "text/plain", {"Location": f"/storage/{reference}?signature=a%2Fb"})
        elif kind == "blobs":
            self._blob(reference, 200)
        else:
            self._manifest(reference, quirk)

    def _manifest(self, reference: str, quirk: str) -> None:
        content = self.server.content
        stored = content.manifests.get(content.tags.get(reference, reference))
        if stored is None:
            self._send(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such manifest"}]}', "application/json")
            return
        headers = {"Docker-Content-Digest": stored.digest}
        if quirk == "bare" and self.command == "HEAD":
            self.send_response(200)
            self.send_header("Content-Type", stored.media_type)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return
        body = stored.content
        if quirk == "packed":
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        self._send(200, body, stored.media_type, headers, twice=quirk == "twice")

    def _blob(self, digest: str, status: int) -> None:
        content = self.server.content.blobs.get(digest)
        if content is None or status != 200:
            self._send(404 if content is None else status, b"", "text/plain")
            return
        self._send(200, content, "application/octet-stream", {"Docker-Content-Digest": digest})

    def _tags(self, query: str, quirk: str) -> None:
        tags = sorted(self.server.content.tags, reverse=True)
        listed = ", ".join(f'"{tag}"' for tag in tags)
        if quirk != "paged":
            self._send(200, f'{{"name":"acme/{quirk}","tags":[{listed}]}}'.encode(), "application/json")
            return
        number = int(parse_qs(query).get("next_page", ["/0="])[0].strip("/="))
        link = f'</v2/acme/paged/tags/list?next_page=%2F{number + 1}%3D>; title="a, b"; rel="next"'
        headers = {"Link": link} if number + 1 < len(tags) else {}
        self._send(200, f'{{"name":"acme/paged","tags":["{tags[number]}"]}}'.encode(), "application/json", headers)

    def _send(
        self, status: int, body: bytes, media_type: str, headers: dict[str, str] | None = None, *, twice: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        for _ in range(2 if twice else 1):
            self.send_header("Content-Length", str(len(body)))
        if twice:
            self.send_header("Content-Security-Policy", "a" * 40_000)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `asked` has it."""


@contextmanager
def quirky_registry(content: Repository) -> Iterator[QuirkyRegistry]:
    with QuirkyRegistry(content) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()

"""What an upstream says about its refusal: bounded, on one line, without our secrets, and marked as the upstream's words."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Collection
from dataclasses import dataclass
from html import unescape
from urllib.parse import quote

import orjson

from proxy.upstream.network.content_coding import decoded
from proxy.upstream.network.response import UpstreamResponse
from proxy.upstream.quotation import quotable
from proxy.upstream.upstreams import UpstreamAccess
from registry_access.model.audit_event import safe_text
from registry_access.model.errors import UpstreamError
from registry_access.runtime.logs.redaction import Redactor

_BODY_MAXIMUM = 64 * 1024
_BODY_SECONDS = 5.0
_MESSAGE_MAXIMUM = 300
_CODE = re.compile(r"[A-Z][A-Z_]{2,39}", re.ASCII)
_TITLE = re.compile(r"<title[^<>]*+>([^<]*)", re.IGNORECASE)
_READ = 8192  # characters of what was said; the rest is never shown, and searching it for secrets would take its time
_SEARCHED = 1024
_PUBLIC_VALUES = frozenset({"username", "client_id", "token_url", "region", "scopes"})


@dataclass(frozen=True, slots=True)
class UpstreamWords:
    """`code` is an error code as the protocol writes them, "" without one; `message` a line, "" when nothing was said."""

    status: int
    code: str = ""
    message: str = ""

    def after(self, sentence: str, registry: str) -> str:
        """`sentence`, and behind it what `registry` says."""
        return f'{sentence}; {registry} says: "{self.message}"' if self.message else sentence

    def detail(self) -> dict[str, object]:
        """For the `detail` of a registry error."""
        return {"upstream": {"status": self.status, "code": self.code, "message": self.message}}


async def words_of(response: UpstreamResponse, access: UpstreamAccess) -> UpstreamWords:
    """The words in a refusal's body. Never raises: a refusal without words is still one."""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await response.read(_BODY_MAXIMUM)
        body = decoded(body, response.headers.get("Content-Encoding", ""), _BODY_MAXIMUM)
    except (TimeoutError, UpstreamError):
        response.close()
        return UpstreamWords(response.status)
    code, message = _said(body)
    return UpstreamWords(response.status, code, _without_secrets(message, access))


def clean(text: str) -> str:
    """One line of at most 300 characters, whose quotes cannot end the quotation that it stands in."""
    return safe_text(" ".join(text.split()).replace('"', "'"), _MESSAGE_MAXIMUM)


def _said(body: bytes) -> tuple[str, str]:
    """Code and message: of a registry error, of the errors that other services write, of a web page, or plain text."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode(errors="replace")
        if (title := _TITLE.search(text)) or text.lstrip().startswith("<"):
            return "", unescape(title[1]) if title else ""
        return "", text
    errors = document.get("errors") if isinstance(document, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else document
    if isinstance(first, str):
        return "", first
    if not isinstance(first, dict):
        return "", ""
    code = first.get("code")
    message = next((first[name] for name in ("message", "error", "error_description", "detail") if _is_text(first.get(name))), "")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "", message


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _without_secrets(message: str, access: UpstreamAccess) -> str:
    """The beginning of `message`. An upstream that repeats what it was sent must not show it to whoever asked for an image."""
    values = access.secret.values if access.secret else {}
    hidden = {value.strip() for name, value in values.items() if name not in _PUBLIC_VALUES}
    said = " ".join(message[:_READ].split())
    shown = clean(_redactor(hidden, values.get("username", ""))(said[:_SEARCHED]))
    if len(said) <= _SEARCHED:
        return shown
    return shown if quotable(shown, hidden) else ""  # a value that was cut is not found as a whole


def _redactor(hidden: Collection[str], user: str) -> Redactor:
    redactor = Redactor()
    pairs = {f"{user}:{value}" for value in hidden}
    redactor.add({*hidden, *(quote(value, safe="") for value in hidden)})
    redactor.add(base64.b64encode(value.encode()).decode().rstrip("=") for value in {*hidden, *pairs})
    return redactor

"""Why a connection failed, in words for a person: no class names, no source lines of OpenSSL, never empty."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator

_SSL_NOISE = re.compile(r"^\[[A-Z0-9_]+(?:: [A-Z0-9_]+)?\]\s*|\s*\(_ssl\.c:\d+\)")
_ERRNO = re.compile(r"^\[Errno -?\d+\]\s*")
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL"})
_MAXIMUM = 200  # characters of others' words


def why(error: BaseException) -> str:
    """What went wrong, by the most telling of an error and those that it came of."""
    chain = list(_chain(error))
    for each in chain:
        if words := _known(each):
            return words
    said = (_cleaned(str(each)) for each in chain)
    return next((words for words in said if words), "the connection failed")


def _known(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        # aiohttp's own class of that name has none: the error that it came of says it.
        words = str(getattr(error, "verify_message", ""))
        return f"its certificate is not trusted: {words}" if words else ""
    if isinstance(error, ssl.SSLError):
        reason = str(getattr(error, "reason", None) or "")
        if reason in _NOT_TLS:
            return "it does not speak TLS on this port"
        return f"the TLS handshake failed: {reason.replace('_', ' ').lower()}" if reason else ""
    if isinstance(error, socket.gaierror) or (isinstance(error, OSError) and (error.errno or 0) < 0):
        return "its name does not resolve"
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "it did not answer in time"
    # aiohttp's errors repeat the number of the error that they came of.
    if isinstance(error, OSError) and type(error).__module__ == "builtins" and error.errno:
        return os.strerror(error.errno).lower()
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came of, innermost last; aiohttp and httpx keep theirs in different places."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        kept = (getattr(each, name, None) for name in ("certificate_error", "os_error"))
        waiting += [item for item in kept if isinstance(item, BaseException)]
        waiting += [item for item in each.args if isinstance(item, BaseException)]
        waiting += [each.__cause__, each.__context__]


def _cleaned(text: str) -> str:
    return _ERRNO.sub("", _SSL_NOISE.sub("", text.strip()))[:_MAXIMUM]

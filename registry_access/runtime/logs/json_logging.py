"""Logs: one JSON object a line on standard output, redacted, written by a thread that may block while pulls go on.

When nobody reads standard output the queue fills, further lines are dropped and counted, and nothing else waits.
"""

from __future__ import annotations

import io
import json
import logging
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TextIO

from registry_access.model.timestamp import rfc3339
from registry_access.runtime.logs.redaction import Redactor

_QUEUE_LINES = 10_000
_ORDINARY = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
# At DEBUG these write bodies and headers, secrets among them.
_KEPT_QUIET = ("kubernetes_asyncio", "aiohttp", "botocore", "urllib3", "httpx", "httpcore", "aiosqlite", "asyncpg")
# At INFO these write a line for every statement, change or request.
_QUIETER = ("alembic", "sqlalchemy", "watchfiles", "uvicorn.access", "uvicorn.error", "asyncio")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, what came in `extra`, and the traceback of an exception."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": rfc3339(record.created, "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: value for name, value in record.__dict__.items() if name not in _ORDINARY})
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        # json escapes CR, LF, NUL and lone surrogates: a client's words stay on their line.
        return json.dumps({name: self._clean(value) for name, value in line.items()}, default=str)

    def _clean(self, value: object) -> object:
        return value if isinstance(value, int | float | bool) or value is None else self._redactor(str(value))


class QueuedHandler(logging.Handler):
    """Formats at once and leaves the writing to a thread. `dropped` is called for each line that found no room."""

    def __init__(self, stream: TextIO, dropped: Callable[[], None]) -> None:
        super().__init__()
        self._stream = stream
        self._dropped = dropped
        self._lines: queue.Queue[str | None] = queue.Queue(_QUEUE_LINES)
        self._thread = threading.Thread(target=self._write, name="log writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped()
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        try:
            self._lines.put(None, timeout=0.5)
        except queue.Full:
            pass
        else:
            self._thread.join(timeout=1)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                self._dropped()


def _standard_output() -> TextIO:
    """Past sys.stdout's buffer: a thread that waits in there for a reader holds a lock that the interpreter wants at its end."""
    raw = io.FileIO(sys.stdout.fileno(), "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def configure_logging(level: str, redactor: Redactor, dropped: Callable[[], None], stream: TextIO | None = None) -> QueuedHandler:
    """Sets up the root logger; returns the handler so that the process can close it last."""
    handler = QueuedHandler(stream or _standard_output(), dropped)
    handler.setFormatter(JsonFormatter(redactor))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _KEPT_QUIET:
        logging.getLogger(name).setLevel(max(logging.INFO, root.level))
    for name in _QUIETER:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    return handler

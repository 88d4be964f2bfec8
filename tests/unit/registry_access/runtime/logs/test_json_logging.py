"""Logs: one object a line, no secret in any, and a reader that stops reading stops nobody."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest

from registry_access.runtime.logs.json_logging import QueuedHandler, configure_logging
from registry_access.runtime.logs.redaction import REDACTED, Redactor

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(*records: tuple[str, dict[str, object]], redactor: Redactor | None = None) -> list[dict[str, object]]:
    stream = io.StringIO()
    handler = configure_logging("debug", redactor or Redactor(), lambda: None, stream)
    for message, extra in records:
        logging.getLogger("test").info(message, extra=extra)
    handler.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_object_on_one_line() -> None:
    (line,) = logged(('pull\r\n{"level":"forged"}\x00', {"install": "shop", "bytes": 7, "none": None}))
    assert line["message"] == 'pull\r\n{"level":"forged"}\x00'
    assert (line["install"], line["bytes"], line["none"], line["level"]) == ("shop", 7, None, "info")
    assert str(line["time"]).endswith("Z")


def test_an_exception_is_inside_the_object() -> None:
    stream = io.StringIO()
    handler = configure_logging("info", Redactor(), lambda: None, stream)
    try:
        raise ValueError(f"token {JWT}")
    except ValueError:
        logging.getLogger("test").exception("it failed")
    handler.close()
    (line,) = (json.loads(text) for text in stream.getvalue().splitlines())
    assert "ValueError" in line["traceback"]
    assert JWT not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {JWT}",
        f"got {JWT} here",
        "Authorization: Basic dXNlcjpjYW5hcnk=",
        '{"password": "canary-value", "a": 1}',
        "password=canary-value&x=1",
        "client_secret: 'canary-value'",
        "postgresql://user:canary-value@db/audit",
        "the known value is known-canary-1",
    ],
)
def test_secrets_are_redacted(text: str) -> None:
    redactor = Redactor()
    redactor.add(["known-canary-1", "short"])
    (line,) = logged((text, {"detail": text}), redactor=redactor)
    for value in (line["message"], line["detail"]):
        assert REDACTED in str(value)
        assert "canary" not in str(value)
        assert "eyJ" not in str(value)
        assert "dXNlcjpjYW5hcnk" not in str(value)


def test_ordinary_words_stay() -> None:
    redactor = Redactor()
    redactor.add(["short"])
    text = "install shop pulled ghcr.io/acme/app@sha256:" + "a" * 64 + " in short order"
    assert redactor(text) == text


def test_libraries_that_log_bodies_are_kept_at_info() -> None:
    configure_logging("debug", Redactor(), lambda: None, io.StringIO()).close()
    for name in ("kubernetes_asyncio", "aiohttp", "botocore", "httpx"):
        assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)


def test_a_blocked_reader_costs_lines_and_nothing_else() -> None:
    """Fault 15."""
    release, drops = threading.Event(), []

    class Blocked(io.StringIO):
        def write(self, text: str) -> int:
            release.wait(10)
            return super().write(text)

    handler = QueuedHandler(Blocked(), lambda: drops.append(1))
    handler.setFormatter(logging.Formatter("%(message)s"))
    for number in range(11_000):
        handler.emit(logging.LogRecord("a", 20, "f", 1, "line %d", (number,), None))
    assert len(drops) >= 900
    release.set()
    handler.close()


def test_a_closed_standard_output_is_counted() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    drops: list[int] = []
    handler = QueuedHandler(Broken(), lambda: drops.append(1))
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.emit(logging.LogRecord("a", 20, "f", 1, "line", (), None))
    handler.close()
    assert drops == [1]

"""How commands show things: tables for people, JSON for scripts, one line for an error. Data on stdout, remarks on stderr."""

from __future__ import annotations

import io
import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.terminal.options import Output
from control.duration import span
from registry_access.model.errors import AkuaError, InvalidSettings
from registry_access.runtime.remark import remark as remark

_PIPE_WIDTH = 100_000  # a pipe has no width: rows stay on their line


class _Unpadded(io.TextIOBase):
    """Standard output without the blanks that fill a table's last column."""

    def write(self, text: str, /) -> int:
        return sys.stdout.write("\n".join(line.rstrip(" ") for line in text.split("\n")))

    def flush(self) -> None:
        sys.stdout.flush()


def console() -> Console:
    """Standard output; made when asked for, so that a captured or redirected one is the one used."""
    if sys.stdout.isatty():
        return Console(file=sys.stdout, highlight=False, soft_wrap=False)
    return Console(file=_Unpadded(), highlight=False, width=_PIPE_WIDTH, soft_wrap=False)  # type: ignore[arg-type]


def show_json(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, empty: str) -> None:
    """A table; `empty` says what to do when there is nothing to show."""
    if not rows:
        remark(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for name in columns:
        table.add_column(name.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    console().print(table)


def show_fields(fields: Mapping[str, str | Text]) -> None:
    """Names and values below one another."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 3, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name, value if isinstance(value, Text) else Text(value))
    console().print(table)


def done(output: Output, document: object, sentence: str) -> None:
    """What a command that changed something says: the object on stdout for a script, a sentence on stderr for a person."""
    if output is Output.JSON:
        show_json(document)
    else:
        Console(file=sys.stderr, highlight=False, soft_wrap=True).print(Text.assemble(("✓ ", "green"), sentence))


def age(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago, as kubectl says it: 45s, 12m, 5h, 3d; "-" for never."""
    if moment is None:
        return "-"
    return span(((now or datetime.now(UTC)) - moment).total_seconds())


def show_error(error: AkuaError) -> None:
    """An error on standard error; several problems of the settings one a line."""
    problems = [str(problem) for problem in error.problems] if isinstance(error, InvalidSettings) else [str(error)]
    to = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    for problem in problems:
        to.print(Text.assemble(("akua: ", "bold red"), problem))


def show_bug(error: Exception) -> None:
    """What nobody foresaw: where it happened, without the message, which nobody has checked for secrets."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    remark(f"akua: internal error: {type(error).__name__}{place}; this is a bug, please report it with this line")

"""Command output: tables for people, JSON for scripts, one line for an error. Data goes to stdout, remarks to stderr.

Names, annotations and upstream answers are untrusted. All output of a command passes through here, which removes characters
that a terminal would interpret.
"""

from __future__ import annotations

import io
import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import typer
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from cli.terminal.options import Output
from control.duration import span
from registry_access.model.errors import AkuaError, InvalidSettings
from registry_access.model.printable import printable
from registry_access.runtime.logs.remark import remark as remark

Line = str | Text
Cell = Line | Sequence[Line]  # a sequence: one below the other
_PIPE_WIDTH = 100_000  # a pipe has no width, so rows are not wrapped


class _Unpadded(io.TextIOBase):
    """Standard output without the padding of a table's last column."""

    def write(self, text: str, /) -> int:
        return sys.stdout.write("\n".join(line.rstrip(" ") for line in text.split("\n")))

    def flush(self) -> None:
        sys.stdout.flush()


class _Inert(RenderHook):
    """The last step before anything is printed: styles are ours by then, and text is only text."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_InertText(renderable) for renderable in renderables]


class _InertText:
    """What `shown` renders to, without characters that a terminal would obey."""

    def __init__(self, shown: ConsoleRenderable) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._shown, options):
            yield segment if segment.control else Segment(printable(segment.text, keep="\n"), segment.style)


def console(file: TextIO | None = None, *, width: int | None = None, soft_wrap: bool = False) -> Console:
    """Standard output, or `file`; created on each call, so that a captured or redirected stream is used."""
    shown: Any = file or sys.stdout
    if file is None and not sys.stdout.isatty():
        shown, width = _Unpadded(), width or _PIPE_WIDTH
    made = Console(file=shown, highlight=False, width=width, soft_wrap=soft_wrap)
    made.push_render_hook(_Inert())
    return made


def show_json(document: object, *, indent: int | None = 2) -> None:
    """One document. Unprintable characters are escaped, as JSON allows within strings."""
    text = json.dumps(document, indent=indent, ensure_ascii=False, default=str)
    if not text.isprintable():
        text = "".join(
            character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1] for character in text
        )
    sys.stdout.write(text + "\n")


def confirm(question: str) -> None:
    """Asks on standard error. Raises typer.Abort if the answer is no."""
    typer.confirm(printable(question), abort=True, err=True)


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, empty: str) -> None:
    """A table; `empty` is shown if there are no rows."""
    if not rows:
        remark(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for name in columns:
        table.add_column(_cell(name.upper()), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(cell) for cell in row))
    console().print(table)


def show_line(cells: Sequence[str | Text]) -> None:
    """A row of an endless table."""
    console().print(Text("  ").join(_cell(cell) for cell in cells))


def show_fields(fields: Mapping[str, Cell]) -> None:
    """Names and values, one pair per line."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 3, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(_cell(name), _cell(value))
    console().print(table)


def _cell(value: Cell) -> Text:
    """Cleaned before the table measures it: a line break in a value would start a new row."""
    if isinstance(value, str):
        return Text(printable(value))
    if isinstance(value, Text):
        return value if value.plain.isprintable() else Text(printable(value.plain), value.style)
    return Text("\n").join(_cell(line) for line in value)


def done(output: Output, document: object, sentence: str) -> None:
    """The result of a change: the object on stdout for a script, a sentence on stderr for a person."""
    if output is Output.JSON:
        show_json(document)
    else:
        console(sys.stderr, soft_wrap=True).print(Text.assemble(("✓ ", "green"), printable(sentence)))


def age(moment: datetime | None, now: datetime | None = None) -> str:
    """An age as kubectl formats it: 45s, 12m, 5h, 3d; "-" for never."""
    if moment is None:
        return "-"
    return span(((now or datetime.now(UTC)) - moment).total_seconds())


def show_error(error: AkuaError) -> None:
    """An error on standard error; each problem of the settings is on its own line."""
    problems = [str(problem) for problem in error.problems] if isinstance(error, InvalidSettings) else [str(error)]
    to = console(sys.stderr, soft_wrap=True)
    for problem in problems:
        to.print(Text.assemble(("akua: ", "bold red"), printable(problem)))


def show_bug(error: Exception) -> None:
    """An unexpected error: shows where it happened, but not its message, which may contain secrets."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    remark(f"akua: internal error: {type(error).__name__}{place}; this is a bug, please report it with this line")

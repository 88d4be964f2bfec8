"""The demo's output: numbered steps, sentences, checks, diffs and progress bars.

It is readable in a narrow terminal, in a wide one, and in a plain log.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, Task, TaskID, TextColumn, TransferSpeedColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from cli.terminal.presentation import console
from registry_access.model.errors import AkuaError

_WIDTH_MAXIMUM = 110
_INDENT = (0, 0, 0, 3)


class StepFailed(AkuaError):
    """A step of the demo did not hold."""


class Stage:
    """Prints to standard output."""

    def __init__(self) -> None:
        self.console = console(width=min(shutil.get_terminal_size((_WIDTH_MAXIMUM, 24)).columns, _WIDTH_MAXIMUM))
        self._number = 0

    def title(self, title: str, subtitle: str) -> None:
        self.console.print()
        self.console.print(Panel(Group(Text(title, "bold"), Text(subtitle, "dim")), border_style="cyan", padding=(0, 2)))

    def step(self, title: str) -> None:
        self._number += 1
        self.console.print()
        self.console.print(Rule(f"[bold cyan]{self._number}[/] [bold]{escape(title)}[/]", align="left", style="cyan"))

    def run(self, command: str) -> None:
        """A command that a user could type to do what happens now."""
        self.show(Text.assemble(("$ ", "cyan"), (command, "bold")))

    def show(self, what: RenderableType) -> None:
        self.console.print(Padding(what, _INDENT))

    def holds(self, held: bool, sentence: str) -> None:
        """Prints the sentence if `held`. Raises StepFailed otherwise."""
        if not held:
            self._marked("✗", "bold red", sentence)
            raise StepFailed(f"step {self._number} does not hold: {sentence}")
        self._marked("✓", "bold green", sentence)

    def error(self, sentence: str) -> None:
        """An expected error, as the client received it."""
        self._marked("✗", "red", sentence, "red")

    def _marked(self, mark: str, style: str, sentence: str, text_style: str = "") -> None:
        """A sentence whose wrapped lines align with its first word."""
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_row(Text(mark, style), Text(sentence, text_style))
        self.show(table)

    def diff(self, before: Any, after: Any) -> None:
        """Two documents as YAML; the second is shown as a diff."""
        lines = difflib.unified_diff(_yaml(before), _yaml(after), n=40, lineterm="")
        styles = {"+": "green", "-": "red"}
        shown = [Text(line, styles.get(line[:1], "")) for line in list(lines)[3:]]
        self.show(Group(*shown))

    @contextmanager
    def pulls(self) -> Iterator[Pulls]:
        """Progress bars for pulls in progress."""
        bars = Progress(
            TextColumn("   {task.description}"),
            BarColumn(bar_width=max(10, self.console.width - 58)),
            DownloadColumn(),
            _Speed(),
            TextColumn("{task.fields[state]}"),
            console=self.console,
        )
        with bars:
            yield Pulls(bars)


class _Speed(TransferSpeedColumn):
    def render(self, task: Task) -> Text:
        """A download that arrived in one piece has no measurable speed."""
        return super().render(task) if task.finished_speed or task.speed else Text("")


class Pulls:
    """The bars: one for each layer of each puller."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._received: dict[tuple[str, str], tuple[int, int]] = {}

    def moved(self, who: str, digest: str, received: int, size: int) -> None:
        key = (who, digest)
        if key not in self._tasks:
            name = f"{who:<6} {digest.removeprefix('sha256:')[:8]}"
            self._tasks[key] = self._bars.add_task(name, total=size, state="")
        state = "[green]✓[/]" if received == size else ""
        self._bars.update(self._tasks[key], completed=received, state=state)
        self._received[key] = (received, size)

    def share(self, who: str) -> float:
        """How much of a puller's image has arrived, 0 to 1."""
        mine = [pair for (owner, _), pair in self._received.items() if owner == who]
        return sum(received for received, _ in mine) / max(1, sum(size for _, size in mine))

    def cut(self, who: str) -> None:
        for key, (received, size) in self._received.items():
            if key[0] == who and received < size:
                self._bars.update(self._tasks[key], state="[bold red]✗ cut[/]")
                self._bars.stop_task(self._tasks[key])


def _yaml(document: Any) -> list[str]:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 1000
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = StringIO()
    yaml.dump(document, stream)
    return str(stream.getvalue()).splitlines()

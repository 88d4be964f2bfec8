"""Progress of a sync of many installs, on standard error: a bar on a terminal, otherwise one line per install."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.terminal.presentation import console, remark
from control.install.answers import SyncProgress


def sync_progress(total: int) -> SyncProgress:
    """For `total` installs."""
    return _Bar(total) if sys.stderr.isatty() else _Lines()


class _Lines:
    def __enter__(self) -> SyncProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return

    def at(self, install: str, text: str) -> None:
        remark(f"{install}: {text}")

    def done(self, install: str, text: str) -> None:
        remark(f"{install}: {text}")


class _Bar:
    def __init__(self, total: int) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console(sys.stderr), transient=True)
        self._task: TaskID = self._progress.add_task("installs", total=total)

    def __enter__(self) -> SyncProgress:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def at(self, install: str, text: str) -> None:
        self._progress.update(self._task, description=f"{install}: {text}")

    def done(self, install: str, text: str) -> None:
        self._progress.update(self._task, advance=1, description="installs")

"""The daemons of a run: started in the background, remembered by pid and start time, stopped by pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """`started` is the start time in clock ticks since boot: with it a pid that was given to another process is told apart."""

    name: str
    pid: int
    started: int
    command: Sequence[str] = ()

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.started

    def stop(self, seconds: float = STOP_SECONDS, *, kill: bool = False) -> None:
        """SIGTERM, and SIGKILL to what is still there after `seconds`; with `kill` SIGKILL at once."""
        for number in (signal.SIGKILL,) if kill else (signal.SIGTERM, signal.SIGKILL):
            if not self.alive:
                return
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + seconds
            while self.alive and time.monotonic() < deadline:
                time.sleep(0.02)


class Daemons:
    """What runs for one run folder, kept in ``daemons.json`` so that another process can stop it, after a crash too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "daemons.json"

    def start(self, name: str, command: Sequence[str | Path]) -> Daemon:
        """In a session of its own, with its output in ``logs/NAME.log``."""
        (self._folder / "logs").mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,
            )
        daemon = Daemon(name, process.pid, start_time(process.pid) or 0, [str(part) for part in command])
        process.returncode = 0  # it outlives us on purpose; Popen shall not warn about that
        self._write(list(({known.name: known for known in self.all()} | {name: daemon}).values()))
        return daemon

    def all(self) -> list[Daemon]:
        """In the order in which they were started."""
        try:
            return [Daemon(**entry) for entry in json.loads(self._file.read_text())]
        except FileNotFoundError:
            return []

    def stop(self, name: str) -> None:
        for daemon in self.all():
            if daemon.name == name:
                daemon.stop()

    def find(self, name: str) -> Daemon | None:
        return next((daemon for daemon in self.all() if daemon.name == name), None)

    def log(self, name: str) -> Path:
        return self._folder / "logs" / f"{name}.log"

    def _write(self, daemons: list[Daemon]) -> None:
        text = json.dumps([asdict(one) for one in daemons], indent=1)
        temporary = self._file.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(self._file)


def start_time(pid: int) -> int | None:
    """proc(5), field 22 of ``/proc/PID/stat``; None for no process and for a zombie.

    A zombie with threads (field 20) that are still ending is none yet: it holds its ports.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} and int(fields[17]) <= 1 else int(fields[19])

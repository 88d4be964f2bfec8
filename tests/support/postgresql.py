"""Debian's PostgreSQL in a folder of its own. It refuses to run as root, so it runs as `nobody` then."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ports import free_port


@dataclass
class PostgreSql:
    """A running server; `dsn` is an administrator's."""

    binaries: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        return f"postgresql://akua@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Returns when connections are answered."""
        options: list[str | Path] = [
            "-D",
            self.folder / "data",
            "-p",
            str(self.port),
            "-c",
            "listen_addresses=127.0.0.1",
            "-k",
            self.folder,
            "-F",
        ]
        deadline = time.monotonic() + 20
        ready: list[str | Path] = [self.binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        while True:
            # After a kill the last children may still hold the shared memory: it ends at once then, and is tried again.
            if self.process is None or self.process.poll() is not None:
                with (self.folder / "log").open("ab") as log:
                    command = [*_as_nobody(), self.binaries / "postgres", *options]
                    self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
            if subprocess.run(ready, check=False).returncode == 0:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, *, kill: bool = False) -> None:
        """SIGINT is a fast shutdown; `kill` is SIGKILL for all of it, as when a machine dies."""
        if self.process is None:
            return
        if kill:
            subprocess.run(["pkill", "-9", "-P", str(self.process.pid)], check=False)
            self.process.kill()
        else:
            self.process.send_signal(2)
        self.process.wait(20)
        self.process = None


@contextmanager
def postgresql() -> Iterator[PostgreSql]:
    """A fresh server, stopped by pid and removed at the end."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="akua-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    folder.chmod(0o755)
    server = PostgreSql(binaries, folder, free_port())
    try:
        made: list[str | Path] = [
            *_as_nobody(),
            binaries / "initdb",
            "-D",
            folder / "data",
            "-U",
            "akua",
            "--auth=trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run(made, check=True, capture_output=True, cwd=folder)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _as_nobody() -> list[str]:
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    message = "PostgreSQL is not installed: run `make parts` as root"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)

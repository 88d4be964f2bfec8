"""Peers as processes: started in a folder, kept on one core, their processor time read, stopped by pid."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROXY_CORES = {0}
OTHER_CORES = {(os.cpu_count() or 1) - 1}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Served:
    """A process that answers at `authority`."""

    authority: str
    pid: int

    def pin(self, cores: set[int]) -> None:
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)

    def processor_seconds(self) -> float:
        """User and system time of the whole process, so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_megabytes(self) -> float:
        return self._megabytes("VmRSS")

    def peak_megabytes(self) -> float:
        return self._megabytes("VmHWM")

    def _megabytes(self, name: str) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name))) / 1024


@contextmanager
def process(folder: Path, port: int, command: Sequence[object], cores: set[int]) -> Iterator[Served]:
    """Runs `command` until the block ends; raises RuntimeError when it does not listen on `port`."""

    def on_cores() -> None:
        os.sched_setaffinity(0, cores)

    with (folder / "log").open("ab") as log:
        running = subprocess.Popen(
            [str(part) for part in command],
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=on_cores,  # noqa: PLW1509 - this program has no threads yet
        )
    try:
        _until(lambda: _listens(port), f"{command[0]}: {(folder / 'log').read_text()[-500:]}")
        yield Served(f"127.0.0.1:{port}", running.pid)
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()


def registry_configuration(folder: Path, port: int, remote: str) -> Path:
    """A docker-registry as a pull-through cache of `remote`."""
    path = folder / "config.yml"
    path.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\nhttp: {{addr: 127.0.0.1:{port}, secret: bench}}\n"
        f"proxy: {{remoteurl: {remote}}}\n"
    )
    return path


def nginx_configuration(folder: Path, port: int, remote: str, *, tuned: bool) -> Path:
    """One worker in the foreground. `tuned`: the best settings known for blobs; else nginx's own."""
    best = "proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;"
    path = folder / "nginx.conf"
    path.write_text(
        f"""\
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream registry {{ server {remote}; keepalive 32; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://registry; proxy_http_version 1.1; proxy_set_header Connection ""; {best if tuned else ""} }} }}
}}
"""
    )
    return path


def content_configuration(folder: Path, port: int) -> Path:
    """nginx as an open registry that answers from files, so that the upstream is never what limits the others."""
    path = folder / "nginx.conf"
    path.write_text(
        f"""\
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000; default_type application/octet-stream;
  server {{ listen 127.0.0.1:{port}; root {folder}; location = /v2/ {{ return 200 "{{}}"; }} }}
}}
"""
    )
    return path


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"did not start: {what}")
        time.sleep(0.05)

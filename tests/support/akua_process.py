"""A real `akua serve` process, with a state folder, an audit trail and ports of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from tests.support.ports import free_port

AKUA = Path(sys.executable).with_name("akua")


@dataclass
class AkuaProcess:
    """`host` is the name that images carry: 127.0.0.1 and the proxy's port."""

    folder: Path
    host: str
    operations: str
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes]

    def drop(self, name: str, *manifests: Mapping[str, Any]) -> None:
        """Puts manifests into the state folder, as a person would."""
        yaml = YAML(typ="safe", pure=True)
        with (self.folder / "state" / f"{name}.yaml").open("w") as file:
            yaml.dump_all(list(manifests), file)

    def run(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs an `akua` command on the same state."""
        return subprocess.run(
            [AKUA, *arguments], env=dict(self.environment), input=stdin, capture_output=True, text=True, check=check, timeout=60
        )

    def token(self, install: str) -> str:
        return self.run("install", "token", install, "--workspace", "acme").stdout.strip()

    def audit(self, *arguments: str) -> list[dict[str, Any]]:
        return list(json.loads(self.run("audit", "list", "--output", "json", *arguments).stdout))

    def logs(self) -> str:
        return (self.folder / "log").read_text()

    def resident_kilobytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


@contextmanager
def akua_serve(folder: Path, **settings: str) -> Iterator[AkuaProcess]:
    """Starts it, waits until it is ready, stops it by pid. `settings` are AKUA_ names in lower case."""
    (folder / "state").mkdir(parents=True, exist_ok=True)
    proxy, webhook, operations = free_port(), free_port(), free_port()
    host = f"127.0.0.1:{proxy}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AKUA_")},
        "AKUA_STATE": f"directory:{folder / 'state'}",
        "AKUA_AUDIT_DSN": f"sqlite:///{folder / 'audit.db'}",
        "AKUA_HOST": host,
        "AKUA_EXTERNAL_URL": f"http://{host}",
        "AKUA_PROXY_ADDRESS": host,
        "AKUA_WEBHOOK_ADDRESS": f"127.0.0.1:{webhook}",
        "AKUA_OPERATIONS_ADDRESS": f"127.0.0.1:{operations}",
        **{f"AKUA_{name.upper()}": value for name, value in settings.items()},
    }
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [AKUA, "--folder", folder, "serve"], env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    running = AkuaProcess(folder, host, f"127.0.0.1:{operations}", environment, process)
    try:
        _wait_until_ready(running)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


def _wait_until_ready(running: AkuaProcess) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            raise AssertionError(f"akua serve ended: {running.logs()[-3000:]}")
        try:
            if httpx.get(f"http://{running.operations}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"akua serve is not ready: {running.logs()[-3000:]}")

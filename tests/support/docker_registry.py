"""Debian's docker-registry as a private upstream: TLS from the test CA, users by htpasswd."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.ports import free_port
from tests.support.programs import requires_program
from tests.support.tls import certificate_authority, client_context

USERNAME, PASSWORD = "robot", "canary-upstream-password"
NAME = "localhost"


@dataclass(frozen=True, slots=True)
class DockerRegistry:
    """A running registry; `authority` is host:port, `ca_file` what its certificate is from."""

    authority: str
    ca_file: Path
    process: subprocess.Popen[bytes]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"https://{self.authority}", auth=(USERNAME, PASSWORD), verify=client_context(), timeout=60)


@contextmanager
def docker_registry(folder: Path, token_auth: str = "") -> Iterator[DockerRegistry]:
    """Starts one in `folder` and stops it by pid. `token_auth` is its auth.token configuration, in place of htpasswd."""
    program, port = requires_program("docker-registry"), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    ca_file, certificate = folder / "ca.pem", certificate_authority().issue_cert(NAME)
    certificate_authority().cert_pem.write_to_path(ca_file)
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    (folder / "htpasswd").write_text(f"{USERNAME}:{_bcrypt()}\n")
    (folder / "config.yml").write_text(
        f"""\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder / "data"}}}, delete: {{enabled: true}}}}
http:
  addr: 127.0.0.1:{port}
  secret: test
  tls: {{certificate: {folder / "server.pem"}, key: {folder / "server.pem"}}}
auth: {f"{{token: {token_auth}}}" if token_auth else f"{{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}"}
"""
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for(port, process, folder / "log")
        yield DockerRegistry(f"{NAME}:{port}", ca_file, process)
    finally:
        process.terminate()
        process.wait(10)


def _bcrypt() -> str:
    made = subprocess.run(
        [requires_program("htpasswd"), "-nbB", "-C", "4", USERNAME, PASSWORD], capture_output=True, text=True, check=True
    )
    return made.stdout.strip().partition(":")[2]


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"docker-registry ended at once: {log.read_text()[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("docker-registry did not start")

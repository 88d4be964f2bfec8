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
    """A running registry; `authority` is host:port, `ca_file` what its certificate is from, `log` its access log."""

    authority: str
    ca_file: Path
    process: subprocess.Popen[bytes]
    users: Path
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"https://{self.authority}", auth=(USERNAME, PASSWORD), verify=client_context(), timeout=60)

    def add_user(self, username: str, password: str) -> None:
        """Or gives one another password; the registry reads its users anew when their file changes."""
        self.remove_user(username)
        self._write_users([*self.users.read_text().splitlines(), f"{username}:{_bcrypt(username, password)}"])

    def remove_user(self, username: str) -> None:
        self._write_users([line for line in self.users.read_text().splitlines() if not line.startswith(f"{username}:")])

    def _write_users(self, lines: list[str]) -> None:
        new = self.users.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.replace(self.users)


@contextmanager
def docker_registry(
    folder: Path, token_auth: str = "", *, name: str = NAME, address: str = "127.0.0.1"
) -> Iterator[DockerRegistry]:
    """Starts one in `folder` and stops it by pid. `token_auth` is its auth.token configuration, in place of htpasswd.

    `name`: what it is reached by, also an address; `address`: where it listens.
    """
    program, port = requires_program("docker-registry"), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    ca_file, certificate = folder / "ca.pem", certificate_authority().issue_cert(name)
    certificate_authority().cert_pem.write_to_path(ca_file)
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    (folder / "htpasswd").write_text(f"{USERNAME}:{_bcrypt(USERNAME, PASSWORD)}\n")
    (folder / "config.yml").write_text(
        f"""\
version: 0.1
log: {{level: debug}}
storage: {{filesystem: {{rootdirectory: {folder / "data"}}}, delete: {{enabled: true}}}}
http:
  addr: {address}:{port}
  secret: test
  tls: {{certificate: {folder / "server.pem"}, key: {folder / "server.pem"}}}
auth: {f"{{token: {token_auth}}}" if token_auth else f"{{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}"}
"""
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for((address, port), process, folder / "log")
        yield DockerRegistry(f"{name}:{port}", ca_file, process, folder / "htpasswd", folder / "log")
    finally:
        process.terminate()
        process.wait(10)


def _bcrypt(username: str, password: str) -> str:
    command: list[str | Path] = [requires_program("htpasswd"), "-nbB", "-C", "4", username, password]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    return made.stdout.strip().partition(":")[2]


def _wait_for(address: tuple[str, int], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"docker-registry ended at once: {log.read_text()[-2000:]}")
        try:
            socket.create_connection(address, 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("docker-registry did not start")

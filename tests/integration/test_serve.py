"""`akua serve` as a real process: what it says before it starts, how it ends, certificates swapped while clients come."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo_registry.registry import UpstreamRegistry
from programs.local_authority import WEBHOOK_NAMES, LocalAuthority
from tests.support.akua_process import AKUA, AkuaProcess, akua_serve
from tests.support.proxied_world import basic
from tests.support.serving import served

API = "registry.akua.dev/v1alpha1"
BLOB = 6_000_000  # bytes


def environment(folder: Path, **settings: str) -> dict[str, str]:
    # PYTHONUNBUFFERED hides what a buffer does when nobody reads it.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AKUA_") and name != "PYTHONUNBUFFERED"}
    return kept | {f"AKUA_{name.upper()}": value for name, value in settings.items()} | {"HOME": str(folder)}


def serve(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs `akua serve` to its end, which is to come at once."""
    return subprocess.run(
        [AKUA, "serve"], cwd=folder, env=environment(folder, **settings), capture_output=True, text=True, timeout=30, check=False
    )


def test_all_settings_that_are_wrong_are_said_before_anything_is_made(tmp_path: Path) -> None:
    ran = serve(tmp_path, drain="soon", staleness_limit="0", proxy_tls_key="/nowhere", log_levle="debug")
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 4, ran.stderr
    assert "did you mean AKUA_LOG_LEVEL?" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_all_ports_that_are_taken_are_said_before_anything_is_made(tmp_path: Path) -> None:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(2)]
        ran = serve(
            tmp_path,
            proxy_address=f"127.0.0.1:{taken[0]}",
            operations_address=f"127.0.0.1:{taken[1]}",
            webhook_address="127.0.0.1:0",
        )
    assert ran.returncode == 2
    assert [line.split(":")[1].strip() for line in ran.stderr.splitlines()] == ["operations address", "proxy address"]
    assert not (tmp_path / ".akua/state").exists()


def test_an_audit_trail_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "audit.db").write_text("this is no database" * 100)
    free = {f"{name}_address": "127.0.0.1:0" for name in ("proxy", "webhook", "operations")}
    ran = serve(tmp_path, audit_dsn=f"sqlite:///{tmp_path / 'audit.db'}", **free)
    assert ran.returncode == 1
    assert "the audit trail cannot be opened" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_roles_serve_only_what_is_theirs(tmp_path: Path) -> None:
    free = {f"{name}_address": "127.0.0.1:0" for name in ("proxy", "webhook", "operations")}
    for role, own, other in (("proxy", "proxy", "webhook"), ("webhook", "webhook", "proxy")):
        process = subprocess.Popen(
            [AKUA, role],
            cwd=tmp_path,
            env=environment(tmp_path, **free),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            line: dict[str, Any] = {}
            while line.get("message") != "serving":
                line = json.loads(process.stdout.readline())
            assert own in line
            assert other not in line
        finally:
            process.terminate()
            process.communicate(timeout=20)
        assert process.returncode == 0
    keys = {file.name for file in (tmp_path / ".akua/state/akua-system").glob("*.yaml")}
    assert keys == {
        "secret-akua-access-token-keys.yaml",  # the proxy's
        "secret-akua-install-token-keys.yaml",  # the webhook's
        "secret-akua-install-token-jwks.yaml",
    }


@pytest.fixture
def upstream() -> UpstreamRegistry:
    registry = UpstreamRegistry(rate=1_500_000)
    registry.repository("acme/app").add_blob(os.urandom(BLOB), "application/octet-stream")
    return registry


def provision(akua: AkuaProcess, upstream: UpstreamRegistry, authority: str) -> None:
    metadata = {"namespace": "acme"}
    spec = {"registry": authority, "type": "Basic", "secretName": "up", "insecure": True, "allowPrivateAddresses": True}
    secret = {"username": upstream.username, "password": upstream.password}
    label = {"registry.akua.dev/workspace": "true"}
    akua.drop(
        "all",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme", "labels": label}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata | {"name": "up"}, "stringData": secret},
        {"apiVersion": API, "kind": "RegistryCredential", "metadata": metadata | {"name": "up"}, "spec": spec},
        {
            "apiVersion": API,
            "kind": "Install",
            "metadata": metadata | {"name": "shop"},
            "spec": {"repositories": [f"{authority}/acme/*"]},
        },
    )


async def test_sigterm_drains_and_flushes(tmp_path: Path, upstream: UpstreamRegistry) -> None:
    """Fault 20: not ready, the stream in flight ends whole, its outcome is in the trail."""
    digest = next(iter(upstream.repository("acme/app").blobs))

    def drain(authority: str) -> None:
        with akua_serve(tmp_path, drain="20s") as akua:
            provision(akua, upstream, authority)
            headers = {"Authorization": basic(akua.token("shop"), "shop")}
            wait_for_install(akua, headers)
            url = f"http://{akua.host}/v2/{authority.replace(':', '_')}/acme/app/blobs/{digest}"
            with httpx.stream("GET", url, headers=headers, timeout=20) as answer:
                assert answer.status_code == 200, answer.read()
                pieces = answer.iter_raw(10_000)
                received = len(next(pieces))
                akua.process.send_signal(signal.SIGTERM)
                ready = until_not_ready(akua)
                assert refuses_connections(akua.host)
                received += sum(len(piece) for piece in pieces)
            assert (ready["ready"], ready["failures"]) == (False, {"shutdown": "the process is stopping"})
            assert received == BLOB
            assert akua.process.wait(20) == 0
            row = akua.audit("--install", "shop", "--repository", "acme/app")[0]
            assert (row["result"], row["bytes"]) == ("allowed", BLOB)

    async with served(upstream.app()) as authority:
        await asyncio.to_thread(drain, authority)


async def test_the_drain_has_an_end(tmp_path: Path, upstream: UpstreamRegistry) -> None:
    """A stream that would go on for minutes is cut at the deadline, and the trail says how much of it was sent."""
    digest = next(iter(upstream.repository("acme/app").blobs))
    upstream.rate = 100_000

    def drain(authority: str) -> None:
        with akua_serve(tmp_path, drain="1s") as akua:
            provision(akua, upstream, authority)
            headers = {"Authorization": basic(akua.token("shop"), "shop")}
            wait_for_install(akua, headers)
            url = f"http://{akua.host}/v2/{authority.replace(':', '_')}/acme/app/blobs/{digest}"
            with httpx.stream("GET", url, headers=headers, timeout=20) as answer:
                pieces = answer.iter_raw(1000)
                next(pieces)
                akua.process.send_signal(signal.SIGTERM)
                with pytest.raises(httpx.TransportError):
                    list(pieces)
            assert akua.process.wait(20) == 0
            row = akua.audit("--install", "shop", "--repository", "acme/app")[0]
            assert row["result"] in ("cut", "failed")
            assert 0 < row["bytes"] < BLOB

    async with served(upstream.app()) as authority:
        await asyncio.to_thread(drain, authority)


def test_certificates_are_swapped_without_a_failed_handshake(tmp_path: Path) -> None:
    """Fault 9, on the process's own webhook certificate."""
    with akua_serve(tmp_path) as akua:
        authority = LocalAuthority(tmp_path / "tls")
        address = ("127.0.0.1", int(akua.environment["AKUA_WEBHOOK_ADDRESS"].rpartition(":")[2]))
        first = serial(address, authority.certificate)
        for name in ("webhook.crt", "webhook.key"):
            (tmp_path / "tls" / name).unlink()
        authority.issue("webhook", WEBHOOK_NAMES)
        deadline, serials = time.monotonic() + 15, [first]
        while serials[-1] == first and time.monotonic() < deadline:
            serials.append(serial(address, authority.certificate))
        assert serials[-1] != first
        assert len(set(serials)) == 2
        metrics = httpx.get(f"http://{akua.operations}/metrics").text
        assert 'akua_certificate_expiry_timestamp_seconds{server="webhook"}' in metrics


def test_nobody_reads_standard_output_and_pulls_go_on(tmp_path: Path) -> None:
    """Fault 15."""
    read, write = os.pipe()
    free = {f"{name}_address": "127.0.0.1:0" for name in ("webhook", "operations")}
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    process = subprocess.Popen(
        [AKUA, "serve"],
        cwd=tmp_path,
        env=environment(tmp_path, proxy_address=f"127.0.0.1:{port}", **free),
        stdout=write,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        for answer in answers(f"http://127.0.0.1:{port}/v2/docker.io/library/redis/manifests/1", 400):
            assert answer.status_code == 401
    finally:
        process.terminate()
        assert process.wait(20) == 0
        os.close(read)


def answers(url: str, count: int) -> Iterator[httpx.Response]:
    """With a token that does not verify, so that each one is logged."""
    deadline = time.monotonic() + 30
    headers = {"Authorization": basic("x" * 600)}
    with httpx.Client(timeout=5) as client:
        done = 0
        while done < count:
            try:
                yield client.get(url, headers=headers)
                done += 1
            except httpx.ConnectError:
                assert time.monotonic() < deadline
                time.sleep(0.1)


def serial(address: tuple[str, int], ca: Path) -> str:
    """The serial number of the certificate that a new client gets. Raises ssl.SSLError."""
    context = ssl.create_default_context(cafile=str(ca))
    with socket.create_connection(address, 5) as plain, context.wrap_socket(plain, server_hostname="localhost") as connection:
        certificate = connection.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


def wait_for_install(akua: AkuaProcess, headers: dict[str, str]) -> None:
    """Until the watch has brought the manifests."""
    deadline = time.monotonic() + 15
    while httpx.get(f"http://{akua.host}/v2/", headers=headers, timeout=5).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def refuses_connections(host: str) -> bool:
    """Whether nobody new is let in, a moment after the signal."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            httpx.get(f"http://{host}/v2/", timeout=2)
        except httpx.TransportError:
            return True
        time.sleep(0.02)
    return False


def until_not_ready(akua: AkuaProcess) -> Any:
    deadline = time.monotonic() + 10
    while (answer := httpx.get(f"http://{akua.operations}/readyz", timeout=5)).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer.json()

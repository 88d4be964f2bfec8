"""A registry that answers the referrers API, as Debian's docker-registry does not: go-containerregistry's, in memory, open."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.go_programs import REFERRING_REGISTRY, REGISTRY_PROGRAMS, go_program
from tests.support.ports import free_port


@contextmanager
def referring_registry() -> Iterator[str]:
    """Its authority; plain HTTP."""
    authority = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen([go_program(REFERRING_REGISTRY, REGISTRY_PROGRAMS), authority], stderr=subprocess.DEVNULL)
    try:
        _wait_for(authority, process)
        yield authority
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(authority: str, process: subprocess.Popen[bytes]) -> None:
    host, _, port = authority.partition(":")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the registry with referrers did not start")

"""Pods that pull one after the other, in the background, and what became of them."""

from __future__ import annotations

import threading
from types import TracebackType

import pytest

from tests.support.cluster import until
from tests.support.tenant import PATIENCE, Tenant

_PAUSE = 1.0  # seconds; it is there to notice something, not to load the machine


class PullLoop:
    """`pulled` counts pods whose image the registry was asked for and which ran; `failures` is what went wrong, in words."""

    def __init__(self, tenant: Tenant, image: str) -> None:
        self._tenant, self._image = tenant, image
        self.pulled = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> PullLoop:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_pulls(self, count: int) -> None:
        """Until `count` more pods have pulled and run, or something went wrong."""
        wanted = self.pulled + count
        until(lambda: self.pulled >= wanted or self.failures, seconds=2 * PATIENCE)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            self._pull(f"loop-{id(self) % 9973}-{number}")
            self._stop.wait(_PAUSE)

    def _pull(self, name: str) -> None:
        tenant = self._tenant
        try:
            tenant.start(name, self._image, "true", restartPolicy="Never")
            until(lambda: tenant.phase(name) == "Succeeded" or self._failed(name), seconds=PATIENCE)
            if failed := self._failed(name):
                self.failures.append(f"{name}: {failed}")
            else:
                self.pulled += 1
            tenant.kubectl("delete", "pod", name, "--wait=false")
        except (AssertionError, OSError, pytest_failure()) as error:
            self.failures.append(f"{name}: {error}")

    def _failed(self, name: str) -> str:
        return "; ".join(said for said in self._tenant.events(name) if said.startswith(("Failed", "Error")))


def pytest_failure() -> type[BaseException]:
    """What `pytest.fail` raises; in a thread of ours it is a finding like any other."""
    failed: type[BaseException] = pytest.fail.Exception
    return failed

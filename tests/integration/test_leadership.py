"""Leadership: one at a time, whatever happens to the Lease, the lock or the API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from registry_access.model.errors import AlreadyExists, Conflict, InvalidManifest, NotFound
from registry_access.state.directory.leadership import FolderLeadership
from registry_access.state.kubernetes.client.api import Unavailable
from registry_access.state.kubernetes.leader_election import LeaderElection, LeaseTimes
from registry_access.state.leadership import Leadership
from tests.support.state_conformance import until

QUICK = LeaseTimes(duration=1.0, renew_deadline=0.6, retry=0.05)


class Leases:
    """An API server that knows nothing but one Lease."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.broken_for: set[str] = set()
        self.broken_by: list[Exception] = []  # one for each request to come

    def api(self, name: str) -> Any:
        return LeaseApi(self, name)


class LeaseApi:
    def __init__(self, leases: Leases, name: str) -> None:
        self._leases = leases
        self._name = name

    async def request(self, method: str, path: str, *, body: Any = None, timeout: float | None = None, **_: Any) -> Any:
        await asyncio.sleep(0)
        leases = self._leases
        if self._name in leases.broken_for:
            raise Unavailable("the API server cannot be reached")
        if leases.broken_by:
            raise leases.broken_by.pop(0)
        assert path.startswith("/apis/coordination.k8s.io/v1/namespaces/akua-system/leases")
        if method == "GET" and leases.lease is None:
            raise NotFound("no lease")
        if method == "POST" and leases.lease is not None:
            raise AlreadyExists("there")
        if method == "PUT" and body["metadata"]["resourceVersion"] != str(leases.version):
            raise Conflict("moved on")
        if method in ("POST", "PUT"):
            leases.version += 1
            leases.lease = {**body, "metadata": {"name": "sync", "resourceVersion": str(leases.version)}}
        return leases.lease

    @property
    def spec(self) -> Mapping[str, Any]:
        assert self._leases.lease is not None
        spec: Mapping[str, Any] = self._leases.lease["spec"]
        return spec


class Workers:
    """Who works now, and whether it was ever more than one."""

    def __init__(self) -> None:
        self.at_work: set[str] = set()
        self.most = 0
        self.begun: list[str] = []
        self.fail = False

    async def work(self, name: str) -> None:
        self.at_work.add(name)
        self.begun.append(name)
        self.most = max(self.most, len(self.at_work))
        try:
            if self.fail:
                self.fail = False
                raise RuntimeError("a bug")
            await asyncio.Event().wait()
        finally:
            self.at_work.discard(name)


@contextlib.asynccontextmanager
async def leading(leadership: Leadership, workers: Workers, name: str) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(leadership.lead(lambda: workers.work(name)))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def election(leases: Leases, name: str) -> LeaderElection:
    return LeaderElection(leases.api(name), "akua-system", "sync", identity=name, times=QUICK)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_one_leads_and_hands_over_at_once_when_it_stops() -> None:
    leases, workers = Leases(), Workers()
    async with leading(election(leases, "a"), workers, "a") as first:
        await until(lambda: workers.at_work == {"a"})
        async with leading(election(leases, "b"), workers, "b"):
            await asyncio.sleep(0.3)
            assert workers.at_work == {"a"}
            await stop(first)
            # Released, not run out: far sooner than its duration.
            await until(lambda: workers.at_work == {"b"}, 0.9)
            assert leases.lease is not None
            assert leases.lease["spec"]["leaseTransitions"] == 1
    assert workers.most == 1
    assert leases.lease["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize("answer", [InvalidManifest("400, says a load balancer"), RuntimeError("a bug")])
async def test_whatever_the_server_answers_it_is_asked_again(answer: Exception) -> None:
    leases, workers = Leases(), Workers()
    leases.broken_by = [answer]
    async with leading(election(leases, "a"), workers, "a"):
        await until(lambda: workers.at_work == {"a"})
        leases.broken_by = [answer]
        await until(lambda: not leases.broken_by)
        await asyncio.sleep(0.2)
        assert workers.begun == ["a"], "one answer amiss costs nobody the lead"
        leases.broken_by = [answer] * 40
        await until(lambda: not workers.at_work)
        leases.broken_by = []
        await until(lambda: workers.at_work == {"a"})


async def test_a_leader_that_cannot_renew_stops_before_another_begins() -> None:
    leases, workers = Leases(), Workers()
    async with leading(election(leases, "a"), workers, "a"), leading(election(leases, "b"), workers, "b"):
        await until(lambda: len(workers.at_work) == 1)
        (cut_off,) = workers.at_work
        (other,) = {"a", "b"} - workers.at_work
        leases.broken_for.add(cut_off)
        await until(lambda: workers.at_work == {other})
        leases.broken_for.clear()
        await asyncio.sleep(0.3)
        assert workers.at_work == {other}
    assert workers.most == 1


async def test_the_renewal_keeps_when_it_was_acquired() -> None:
    leases, workers = Leases(), Workers()
    api = leases.api("a")
    async with leading(election(leases, "a"), workers, "a"):
        await until(lambda: leases.lease is not None)
        before = dict(api.spec)
        await until(lambda: api.spec["renewTime"] != before["renewTime"])
        assert api.spec["acquireTime"] == before["acquireTime"]
        assert api.spec["leaseTransitions"] == 0
        assert len(api.spec["renewTime"].partition(".")[2]) == 7, "MicroTime has exactly six decimals and Z"


async def test_somebody_who_takes_the_lease_is_given_way_to() -> None:
    leases, workers = Leases(), Workers()
    async with leading(election(leases, "a"), workers, "a"):
        await until(lambda: workers.at_work == {"a"})
        assert leases.lease is not None
        leases.version += 1
        leases.lease["spec"] = {**leases.lease["spec"], "holderIdentity": "stranger"}
        leases.lease["metadata"]["resourceVersion"] = str(leases.version)
        await until(lambda: workers.at_work == set())
        # The stranger never renews: by our own clock it is over after its duration.
        await until(lambda: workers.at_work == {"a"})


async def test_times_of_another_clock_do_not_count() -> None:
    """A holder whose clock is years behind is not taken for dead as long as its record changes."""
    leases, workers = Leases(), Workers()

    def renewed(second: int) -> None:
        leases.version += 1
        spec = {"holderIdentity": "old", "leaseDurationSeconds": 1, "renewTime": f"2001-01-01T00:00:{second:02}.000000Z"}
        leases.lease = {"metadata": {"name": "sync", "resourceVersion": str(leases.version)}, "spec": spec}

    renewed(0)
    async with leading(election(leases, "a"), workers, "a"):
        for second in range(1, 6):
            await asyncio.sleep(0.3)
            renewed(second)
            assert workers.at_work == set()
        await until(lambda: workers.at_work == {"a"})


async def test_work_that_fails_begins_again() -> None:
    leases, workers = Leases(), Workers()
    workers.fail = True
    async with leading(election(leases, "a"), workers, "a"):
        await until(lambda: workers.begun == ["a", "a"])


@pytest.mark.parametrize("times", [(10, 10, 2), (15, 2, 2), (15, 10, 0)])
def test_times_that_could_make_two_leaders(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must hold"):
        LeaseTimes(*times)


async def test_processes_on_one_folder_take_turns(tmp_path: Path) -> None:
    workers, file = Workers(), tmp_path / ".managed" / "lock"
    async with leading(FolderLeadership(file), workers, "a") as first:
        await until(lambda: workers.at_work == {"a"})
        async with leading(FolderLeadership(file), workers, "b"):
            await asyncio.sleep(0.1)
            assert workers.at_work == {"a"}
            await stop(first)
            await until(lambda: workers.at_work == {"b"})
    assert workers.most == 1
    workers.fail = True
    async with leading(FolderLeadership(file), workers, "c"):
        await until(lambda: workers.begun[-2:] == ["c", "c"])

"""Leader election by a Lease, by client-go's rules (tools/leaderelection), with a deadline on every call.

A Lease is no fence: a process that was frozen may write once more before it learns that it lost. So the work that is done under
it must also come out right when two do it, as the install sync does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry_access.model.errors import AkuaError, AlreadyExists, Conflict, NotFound
from registry_access.model.timestamp import rfc3339
from registry_access.state.kubernetes.client.api import Gone, KubernetesApi
from registry_access.state.kubernetes.client.interface import Api
from registry_access.state.leadership import Work

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds. `duration` > `renew_deadline` > 1.2 * `retry`: the old leader has stopped before a new one begins."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > 1.2 * self.retry > 0:
            raise ValueError("duration > renew_deadline > 1.2 * retry > 0 must hold")


class LeaderElection:
    """See `Leadership`. One Lease `name` in `namespace`; `identity` must be unique to this start of this process."""

    def __init__(
        self, api: KubernetesApi, namespace: str, name: str, *, identity: str = "", times: LeaseTimes | None = None
    ) -> None:
        self._api = api
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._times = times or LeaseTimes()
        # In a pod the host's name is the pod's: `kubectl get lease` says who leads.
        self.identity = identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"
        self._record: Mapping[str, Any] = {}
        self._changed = 0.0  # monotonic time at which `_record` was last seen to differ

    async def lead(self, work: Work) -> None:
        """Until cancelled."""
        while True:
            held_since = await self._acquire()
            logger.info("leading by lease %s as %s", self._name, self.identity)
            task = asyncio.ensure_future(work())
            try:
                await self._hold(task, held_since)
            finally:
                # The work first, the Lease after it: nobody may begin while ours is still going on.
                await _end(task)
                await self._release()
            await asyncio.sleep(self._times.retry)

    async def _acquire(self) -> float:
        """The monotonic time from which the Lease is ours for sure."""
        while True:
            began = time.monotonic()
            if await self._try(self._times.renew_deadline):
                return began
            await asyncio.sleep(self._times.retry * random.uniform(1.0, 2.2))  # noqa: S311 - jitter

    async def _hold(self, task: asyncio.Future[None], renewed: float) -> None:
        """Returns when the work has ended or the Lease could not be renewed in time."""
        while True:
            await asyncio.wait({task}, timeout=self._times.retry)
            if task.done():
                if not task.cancelled() and (error := task.exception()) is not None:
                    logger.error("unexpected error in the leader's work; restarting", exc_info=error)
                return
            began = time.monotonic()
            left = renewed + self._times.renew_deadline - began
            if left > 0 and await self._try(left):
                renewed = began
            elif self._is_others() or time.monotonic() >= renewed + self._times.renew_deadline:
                logger.warning("lost lease %s; %s leads", self._name, self._holder() or "no process")
                return

    async def _try(self, seconds: float) -> bool:
        """Takes or renews the Lease, within `seconds`; False when it is another's or cannot be had now."""
        try:
            async with asyncio.timeout(seconds):
                return await self._take(seconds)
        except (AlreadyExists, Conflict):
            return False  # another was faster
        except (AkuaError, Gone, TimeoutError) as error:
            logger.warning("lease %s could not be taken or renewed: %s", self._name, error or "no answer in time")
            return False
        except Exception:
            # On any error: a process that stops trying would never lead again.
            logger.exception("unexpected error while taking or renewing lease %s; retrying", self._name)
            return False

    async def _take(self, seconds: float) -> bool:
        path = f"{self._collection}/{self._name}"
        try:
            lease = await self._api.request("GET", path, timeout=seconds)
        except NotFound:
            metadata = {"name": self._name}
            body = {**_LEASE, "metadata": metadata, "spec": self._spec({}, _now())}
            self._see(await self._api.request("POST", self._collection, body=body, timeout=seconds))
            return True
        self._see(lease)
        if self._is_others() and not self._is_over():
            return False
        metadata = {"name": self._name, "resourceVersion": lease["metadata"]["resourceVersion"]}
        body = {**_LEASE, "metadata": metadata, "spec": self._spec(self._record, _now())}
        self._see(await self._api.request("PUT", path, body=body, timeout=seconds))
        return True

    def _spec(self, before: Mapping[str, Any], now: str) -> dict[str, Any]:
        mine = before.get("holderIdentity") == self.identity
        transitions = int(before.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._times.duration)),
            "acquireTime": before.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseTransitions": transitions if mine or not before else transitions + 1,
        }

    async def _release(self) -> None:
        """Lets the next one begin at once. Should it fail, the Lease runs out by itself."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                path = f"{self._collection}/{self._name}"
                lease = await self._api.request("GET", path, timeout=2)
                self._see(lease)
                if self._holder() != self.identity:
                    return
                metadata = {"name": self._name, "resourceVersion": lease["metadata"]["resourceVersion"]}
                spec = {**self._record, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
                self._see(await self._api.request("PUT", path, body={**_LEASE, "metadata": metadata, "spec": spec}, timeout=2))

    def _see(self, lease: Mapping[str, Any]) -> None:
        spec = lease.get("spec")
        record = spec if isinstance(spec, Mapping) else {}
        if record != self._record:
            self._record, self._changed = record, time.monotonic()

    def _holder(self) -> str:
        return str(self._record.get("holderIdentity") or "")

    def _is_others(self) -> bool:
        return self._holder() not in ("", self.identity)

    def _is_over(self) -> bool:
        """By our own monotonic clock since the record last changed: its times are of somebody else's clock."""
        duration = self._record.get("leaseDurationSeconds")
        seconds = float(duration) if isinstance(duration, int) else self._times.duration
        return time.monotonic() - self._changed > seconds


async def holder_of(api: Api, namespace: str, name: str) -> str:
    """Who holds a Lease now, as far as it says; "" for nobody. Raises StateUnavailable."""
    try:
        lease = await api.request("GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}")
    except NotFound:
        return ""
    spec = lease.get("spec")
    return str(spec.get("holderIdentity") or "") if isinstance(spec, Mapping) else ""


def _now() -> str:
    """MicroTime (meta/v1): exactly six decimals, or the API server refuses it."""
    return rfc3339(time.time(), "microseconds")


_LEASE = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}


async def _end(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # told already

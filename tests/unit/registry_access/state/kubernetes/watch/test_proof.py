"""Proofs of freshness go on, whatever is answered: one that ended would have every pull refused until the next restart."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from registry_access.model.errors import InvalidManifest
from registry_access.model.resources import Kind
from registry_access.state.index import ResourceIndex
from registry_access.state.kubernetes.client.api import KubernetesApi, Unavailable
from registry_access.state.kubernetes.client.interface import Listed
from registry_access.state.kubernetes.client.resource_path import WatchScope
from registry_access.state.kubernetes.watch.feed import Feed
from registry_access.state.kubernetes.watch.proof import HeartbeatProof, ListProof
from registry_access.state.kubernetes.watch.reflector import Reflector
from tests.support.state_conformance import until

ANSWERS = [InvalidManifest("400 of a load balancer"), Unavailable("503"), {"metadata": "no mapping"}, {"items": 7}]


class OddApi(KubernetesApi):
    """Answers each request with the next of `answers`, and with nothing any more once they are through."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = list(answers)
        self.through = asyncio.Event()

    def _next(self) -> dict[str, Any]:
        if not self.answers:
            self.through.set()
            return {"metadata": {"resourceVersion": "1"}}
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    async def request(self, *_: Any, **__: Any) -> dict[str, Any]:
        return self._next()

    async def pages(self, scope: Listed, *, accept: str = "", whole: bool = False) -> AsyncIterator[dict[str, Any]]:
        yield self._next()


@pytest.mark.parametrize("kind", ["heartbeat", "list"])
async def test_odd_answers_do_not_end_a_proof(kind: str) -> None:
    api = OddApi(ANSWERS)
    reflector = Reflector(api, WatchScope(Kind.SECRET if kind == "list" else Kind.PRODUCT), Feed(ResourceIndex()), "replica")
    reflector.synced.set()
    proof: HeartbeatProof | ListProof = ListProof(api, reflector, lambda: 0.01)
    if kind == "heartbeat":
        proof = HeartbeatProof(api, reflector, "akua-system", "replica", 0.01, grace=0.01)
    running = asyncio.create_task(proof.run())
    await until(api.through.is_set)
    assert not running.done()
    if kind == "list":
        await until(lambda: reflector.staleness() < 5)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

"""Answers in flight: checked again whenever something that allowed them changes, and cut when a gate no longer passes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from proxy.metrics import ProxyMetrics
from registry_access.model.decision import GateResult
from registry_access.model.resources import Kind
from registry_access.state.index import Change, ResourceIndex, Unsubscribe

logger = logging.getLogger(__name__)
_DECIDING = frozenset({Kind.NAMESPACE, Kind.INSTALL, Kind.PRODUCT, Kind.REGISTRY_CREDENTIAL, Kind.SECRET})


@dataclass(eq=False, slots=True)
class OpenStream:
    """One answer being streamed. `check` returns the gate that no longer passes, or None; `abort` ends both connections.

    `cut` is the gate that ended it.
    """

    workspace: str
    check: Callable[[], GateResult | None]
    abort: Callable[[], None]
    cut: GateResult | None = field(default=None)


class OpenStreams:
    """Checks within the call that changes the index, and every `tick` seconds for expiry and staleness."""

    def __init__(self, index: ResourceIndex, telemetry: ProxyMetrics, *, tick: float = 1.0) -> None:
        self._index = index
        self._telemetry = telemetry
        self._tick_seconds = tick
        self._by_workspace: dict[str, set[OpenStream]] = {}
        self._unsubscribe: Unsubscribe | None = None
        self._ticker: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._unsubscribe = self._index.subscribe(self._changed, _DECIDING)
        self._ticker = asyncio.create_task(self._tick(), name="open streams")

    async def stop(self) -> None:
        if self._unsubscribe:
            self._unsubscribe()
        if self._ticker:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)

    @contextmanager
    def track(self, stream: OpenStream) -> Iterator[None]:
        """Keeps `stream` under watch while the block runs."""
        streams = self._by_workspace.setdefault(stream.workspace, set())
        streams.add(stream)
        self._telemetry.streams_open.inc()
        # A change between the decision and now found nothing to cut.
        self._recheck(stream)
        try:
            yield
        finally:
            streams.discard(stream)
            if not streams and self._by_workspace.get(stream.workspace) is streams:
                del self._by_workspace[stream.workspace]
            self._telemetry.streams_open.dec()

    def count(self) -> int:
        return sum(len(streams) for streams in self._by_workspace.values())

    def _changed(self, change: Change) -> None:
        workspace = change.key.name if change.key.kind is Kind.NAMESPACE else change.key.namespace
        for stream in tuple(self._by_workspace.get(workspace, ())):
            self._recheck(stream)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._tick_seconds)
            for streams in tuple(self._by_workspace.values()):
                for stream in tuple(streams):
                    self._recheck(stream)

    def _recheck(self, stream: OpenStream) -> None:
        """Never raises: a stream whose check fails must not keep the others from being checked."""
        if stream.cut is not None:
            return
        try:
            refusal = stream.check()
            if refusal is not None:
                stream.cut = refusal
                self._telemetry.streams_cut.labels(str(refusal.reason)).inc()
                stream.abort()
        except Exception:
            # A stream that cannot be checked is not known to be allowed.
            logger.exception("a stream in flight could not be checked and was cut")
            stream.abort()

"""Streams in flight: who is asked again, when, and what happens to those that no longer pass."""

from __future__ import annotations

import asyncio

from programs.telemetry import Telemetry
from proxy.pull.open_streams import OpenStream, OpenStreams
from registry_access.model.decision import Gate, GateResult, Reason
from registry_access.model.resources.resource import resource_from_manifest
from registry_access.state.index import ResourceIndex

REVOKED = GateResult(Gate.INSTALL, Reason.INSTALL_REVOKED, "")


class Stream:
    """Answers `refusal` when asked, and counts."""

    def __init__(self, workspace: str = "acme", refusal: GateResult | None = None) -> None:
        self.refusal, self.asked, self.aborted = refusal, 0, 0
        self.open = OpenStream(workspace, self.check, self.abort)

    def check(self) -> GateResult | None:
        self.asked += 1
        return self.refusal

    def abort(self) -> None:
        self.aborted += 1


def change(index: ResourceIndex, namespace: str, kind: str = "Install") -> None:
    manifest = {
        "apiVersion": "registry.akua.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {"repositories": ["ghcr.io/acme/*"]},
    }
    made = resource_from_manifest(manifest)
    assert made is not None
    index.put(made)


async def test_a_change_asks_the_workspaces_streams_within_the_same_call() -> None:
    index = ResourceIndex()
    streams = OpenStreams(index, Telemetry(), tick=3600)
    streams.start()
    ours, other = Stream(), Stream("rival")
    with streams.track(ours.open), streams.track(other.open):
        ours.refusal = REVOKED
        change(index, "acme")
        assert (ours.aborted, ours.open.cut) == (1, REVOKED)
        assert (other.asked, other.aborted) == (1, 0)
        change(index, "acme", "Product")
        assert ours.aborted == 1, "a stream is cut once"
        assert streams.count() == 2
    assert streams.count() == 0
    await streams.stop()


async def test_what_changed_before_the_stream_was_tracked_cuts_it() -> None:
    streams, late = OpenStreams(ResourceIndex(), Telemetry()), Stream(refusal=REVOKED)
    with streams.track(late.open):
        assert late.aborted == 1


async def test_time_asks_too_and_a_check_that_fails_cuts_its_stream_only() -> None:
    streams = OpenStreams(ResourceIndex(), Telemetry(), tick=0.005)
    streams.start()
    healthy, broken = Stream(), Stream()
    with streams.track(healthy.open), streams.track(broken.open):

        def fails() -> GateResult | None:
            raise RuntimeError

        broken.open.check = fails
        while not broken.aborted:
            await asyncio.sleep(0.005)
        seen = healthy.asked
        healthy.refusal = REVOKED
        while not healthy.aborted:
            await asyncio.sleep(0.005)
        assert healthy.asked > seen
        assert broken.aborted >= 1
    await streams.stop()


async def test_streams_of_one_workspace_come_and_go_in_any_order() -> None:
    streams, one, other = OpenStreams(ResourceIndex(), Telemetry()), Stream(), Stream()
    first, second = streams.track(one.open), streams.track(other.open)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert streams.count() == 1
    second.__exit__(None, None, None)
    assert streams.count() == 0

"""One watch cache: the whole state, then what changes, for ever, as client-go's reflector does it; whatever goes wrong ends in
the whole state again. It comes through the watch itself where the server can do that, else as a list by pages.

The rules, and why, are in client-go's tools/cache/reflector.go and in the Kubernetes API concepts, "Efficient detection of
changes".
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from registry_access.model.errors import InvalidManifest, NotFound, StateError
from registry_access.model.resources import Key
from registry_access.runtime.backoff import Backoff
from registry_access.state.kubernetes.client.api import Gone, KubernetesApi, Unavailable
from registry_access.state.kubernetes.client.event_stream import BrokenStream
from registry_access.state.kubernetes.client.resource_path import WatchScope
from registry_access.state.kubernetes.watch.feed import Feed, is_older, key_in, version_in
from registry_access.state.kubernetes.watch.heartbeat_echo import HeartbeatEcho
from registry_access.state.kubernetes.watch.snapshot import Snapshot

logger = logging.getLogger(__name__)
_RELIST_SECONDS = 3600.0  # finds what a server's cache may have lost
_SHORT_WATCH_SECONDS = 1.0
_ROLLBACK_LISTS = 5
_PROGRESS_SECONDS = 30.0
_AT_ONCE = 50  # objects taken in before others have their turn
_DENIED_SECONDS = 15.0  # control planes refuse for a moment while they are upgraded
REFUSED = (401, 403)
Observer = Callable[[str, str], None]


class _NotStreamed(Exception):
    """The server does not tell its whole state through a watch."""


class Reflector:
    """Keeps the index true for one scope. `observe` is told (scope, event) for metrics: listed, watched, relisted, cut ...

    What is not `needed` is taken out of the index when it is refused to us for longer than an upgrade takes. `denied_wait` gives
    the seconds after which a refused scope is asked for again: a right may be granted at any moment.
    """

    def __init__(
        self,
        api: KubernetesApi,
        scope: WatchScope,
        feed: Feed,
        replica: str,
        observe: Observer | None = None,
        *,
        needed: bool = True,
        denied_wait: Callable[[], float] = lambda: 2.0,
        backoff: Backoff | None = None,
    ) -> None:
        self.scope = scope
        self.synced = asyncio.Event()
        self.last_error = ""
        self.heartbeats = HeartbeatEcho(replica)
        self.held: dict[Key, str] = {}  # resource versions, of unusable objects too
        self._api = api
        self._feed = feed
        self._observe = observe or (lambda scope, event: None)
        self._needed = needed
        self._denied_wait = denied_wait
        self._version = ""
        self._newest = ""  # that was ever seen
        self._snapshot: Snapshot | None = None  # while the whole state is being read
        self._lists = False  # by pages, because the watch did not tell the whole state
        self._listed = float("-inf")
        self._proven = float("-inf")
        self._denied_since: float | None = None
        self._older_lists = 0
        self._backoff = backoff or Backoff()
        self._watching: asyncio.Task[None] | None = None
        self._suspected = ""

    def staleness(self) -> float:
        """Seconds since this scope was last proven current; inf before."""
        return time.monotonic() - self._proven

    @property
    def denied(self) -> bool:
        """Whether the server has answered, and did not let us."""
        return self._denied_since is not None

    @property
    def reading(self) -> bool:
        """Whether the whole state is being read."""
        return self._snapshot is not None

    def prove(self, moment: float) -> None:
        """What was true at `moment` (monotonic) is in the index."""
        self._proven = max(self._proven, moment)

    def suspect(self, why: str) -> None:
        """Cuts the present watch, which no longer brings what it should; another one is begun at the same place.

        Not while the whole state is being read: a large one takes longer than a heartbeat.
        """
        if self._snapshot is None and self._watching and not self._watching.done():
            self._suspected = why
            self._watching.cancel()

    def relist(self) -> None:
        """Makes the next round begin with a list, and the present one end."""
        if self._snapshot is None:
            self._version = ""
            self.suspect("a list shows something else")

    async def run(self) -> None:
        """For ever; ends only by cancellation."""
        while True:
            wait = 0.0
            try:
                wait = await self._round()
            except Gone:
                self._note("gone", "the watch fell behind what the server remembers")
                self._version = ""
            except BrokenStream as error:
                self._note("broken", str(error))
                self._version = ""
                wait = self._backoff.next()
            except Unavailable as error:
                self._failed(error)
                wait = self._denied_wait() if error.status in REFUSED else self._backoff.next(error.retry_after)
            except (StateError, ValueError) as error:
                self._failed(error)
                wait = self._backoff.next()
            except Exception:
                # On any error: without a running watch, a revocation has no effect.
                logger.exception("unexpected error in the watch of %s; restarting", self.scope)
                self._version = ""
                wait = self._backoff.next()
            await asyncio.sleep(wait)

    async def _round(self) -> float:
        """Reads everything if need be, watches until the watch ends. Returns the seconds to wait before the next round."""
        whole = not self._version or time.monotonic() - self._listed > _RELIST_SECONDS
        if whole and self._lists:
            await self._list()
            whole = self._lists = False
        began, version = time.monotonic(), self._version
        self._watching = asyncio.create_task(self._watch(whole))
        try:
            await self._watching
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._suspected or (task is not None and task.cancelling()):
                self._watching.cancel()
                raise
            self._note("cut", self._suspected)
            self._suspected = ""
            return 0.0
        except _NotStreamed as reason:
            logger.debug("%s are listed by pages: %s", self.scope, reason)
            return 0.0
        short = time.monotonic() - began < _SHORT_WATCH_SECONDS and self._version == version
        if short:
            self._note("short", "the watch ended at once")
            return self._backoff.next()
        self._backoff.reset()
        return 0.0

    async def _list(self) -> None:
        began = time.monotonic()
        snapshot = self._begin()
        version = ""
        try:
            async for page in self._api.pages(self.scope):
                if not version:
                    version = version_in(page)
                    self._refuse_rollback(version)
                    snapshot.trust()
                for count, item in enumerate(page.get("items") or ()):
                    if (key := key_in(self.scope.kind, item)) is not None:
                        snapshot.take(key, item)
                    if count % _AT_ONCE == 0:
                        await asyncio.sleep(0)  # a page must not hold up what is being served
            self._finish(snapshot, version, began)
        finally:
            self._snapshot = None

    async def _stream(self, events: AsyncIterator[dict[str, Any]], began: float) -> None:
        """The whole state from the start of a watch. Raises _NotStreamed where that is not to be had."""
        snapshot = self._begin()
        try:
            async with asyncio.timeout(_PROGRESS_SECONDS) as progress:
                count = 0
                async for event in events:
                    type, item = event["type"], event["object"]
                    if type == "ERROR":
                        raise _NotStreamed(str(item.get("message")))
                    if type == "BOOKMARK":
                        if _ends_initial_events(item):
                            if is_older(version_in(item), self._newest):
                                raise _NotStreamed("it tells older state than was seen")
                            self._finish(snapshot, version_in(item), began)
                            return
                    elif (key := key_in(self.scope.kind, item)) is None:
                        continue
                    elif type == "DELETED":
                        snapshot.drop(key)
                        self._remove(key)
                    else:
                        snapshot.take(key, item)
                    count += 1
                    if count % _AT_ONCE == 0:
                        progress.reschedule(asyncio.get_running_loop().time() + _PROGRESS_SECONDS)
                        await asyncio.sleep(0)
            raise _NotStreamed("the watch ended before all was told")
        finally:
            self._snapshot = None

    def _begin(self) -> Snapshot:
        self._snapshot = Snapshot(self.held, self._put, self._remove, first=not self._newest)
        return self._snapshot

    def _finish(self, snapshot: Snapshot, version: str, began: float) -> None:
        if not version:
            raise Unavailable("a list without a resource version")
        snapshot.finish()
        self._version = self._newest = version
        self._listed = time.monotonic()
        self._denied_since, self.last_error = None, ""
        self.prove(began)
        self.synced.set()
        self._observe(str(self.scope), "listed")

    def _refuse_rollback(self, version: str) -> None:
        """State older than what was seen comes from a stale replica; only a restored etcd says so again and again."""
        if not is_older(version, self._newest):
            self._older_lists = 0
            return
        self._older_lists += 1
        if self._older_lists < _ROLLBACK_LISTS:
            raise Unavailable(f"a list as of {version} although {self._newest} was seen: a stale API server replica")
        logger.error("the API server keeps showing older state of %s; taken for restored from a backup", self.scope)
        for key in list(self.held):
            self._remove(key)

    async def _watch(self, whole: bool) -> None:
        seconds = random.randint(300, 600)  # noqa: S311 - spreads the load of reconnecting
        began = time.monotonic()
        self._lists = whole  # the next time, unless the state comes to its end
        try:
            async with self._api.watch(self.scope, "" if whole else self._version, seconds) as events:
                if whole:
                    await self._stream(events, began)
                    self._lists = False
                self._observe(str(self.scope), "watching")
                self._denied_since = None
                async for event in events:
                    self._take(event["type"], event["object"])
        except InvalidManifest as error:
            if not whole:
                raise
            raise _NotStreamed(str(error)) from error

    def _take(self, type: str, item: dict[str, Any]) -> None:
        if type == "ERROR":
            if item.get("code") == 410 or item.get("reason") in ("Expired", "Gone"):
                raise Gone(str(item.get("message")))
            raise BrokenStream(f"an ERROR event: {item.get('reason') or item.get('code')}")
        version = version_in(item)
        if not version or is_older(version, self._version):
            raise BrokenStream("an event without a resource version, or one from before")
        if type != "BOOKMARK":
            key = key_in(self.scope.kind, item)
            if type not in ("ADDED", "MODIFIED", "DELETED"):
                raise BrokenStream("an event of an unknown type")
            if key is not None and type == "DELETED":
                self._remove(key)
            elif key is not None:
                self._put(key, item)
            self._backoff.reset()
        self._version = self._newest = version

    def _put(self, key: Key, item: dict[str, Any]) -> None:
        self.heartbeats.note(item)
        self.held[key] = version_in(item)
        self._feed.put(key, item)

    def _remove(self, key: Key) -> None:
        self.held.pop(key, None)
        self._feed.remove(key)

    def _failed(self, error: Exception) -> None:
        status = error.status if isinstance(error, Unavailable) else 0
        self._note("failed", str(error))
        if status not in REFUSED and not isinstance(error, NotFound):
            return
        self._denied_since = self._denied_since or time.monotonic()
        if not self._needed and time.monotonic() - self._denied_since > _DENIED_SECONDS:
            # One workspace that withdrew our right to its Secrets goes without them; the others must not go stale with it.
            self.clear()

    def _note(self, event: str, why: str) -> None:
        if why != self.last_error:
            logger.warning("the watch of %s: %s", self.scope, why)
        self.last_error = why
        self._observe(str(self.scope), event)

    def clear(self) -> None:
        """Takes everything of this scope out of the index."""
        for key in list(self.held):
            self._remove(key)
        self._version = ""
        self.synced.clear()


def _ends_initial_events(bookmark: dict[str, Any]) -> bool:
    annotations = bookmark.get("metadata", {}).get("annotations")
    return isinstance(annotations, dict) and annotations.get("k8s.io/initial-events-end") == "true"

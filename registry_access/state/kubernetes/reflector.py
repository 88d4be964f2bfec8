"""One watch cache: list, then watch, for ever, as client-go's reflector does it; whatever goes wrong ends in another list.

The rules, and why, are in client-go's tools/cache/reflector.go and in the Kubernetes API concepts, "Efficient detection of
changes".
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from registry_access.model.errors import NotFound, StateError
from registry_access.model.resources import Key
from registry_access.state.kubernetes.api import Gone, KubernetesApi, Unavailable
from registry_access.state.kubernetes.backoff import Backoff
from registry_access.state.kubernetes.event_stream import BrokenStream
from registry_access.state.kubernetes.feed import HEARTBEAT_PREFIX, Feed, is_older, key_in, version_in
from registry_access.state.kubernetes.resource_path import Scope

logger = logging.getLogger(__name__)
_RELIST_SECONDS = 3600.0  # finds what a server's cache may have lost
_SHORT_WATCH_SECONDS = 1.0
_ROLLBACK_LISTS = 5
_DENIED_SECONDS = 15.0  # control planes refuse for a moment while they are upgraded
_REFUSED = (401, 403)
Observer = Callable[[str, str], None]


class Reflector:
    """Keeps the index true for one scope. `observe` is told (scope, event) for metrics: listed, watched, relisted, cut ...

    What is not `needed` is taken out of the index when it is refused to us for longer than an upgrade takes. `denied_wait` gives
    the seconds after which a refused scope is asked for again: a right may be granted at any moment.
    """

    def __init__(
        self,
        api: KubernetesApi,
        scope: Scope,
        feed: Feed,
        replica: str,
        observe: Observer | None = None,
        *,
        needed: bool = True,
        denied_wait: Callable[[], float] = lambda: 2.0,
    ) -> None:
        self.scope = scope
        self.synced = asyncio.Event()
        self.last_error = ""
        self.held: dict[Key, str] = {}  # resource versions, of unusable objects too
        self._api = api
        self._feed = feed
        self._heartbeat_name = HEARTBEAT_PREFIX + replica
        self._heartbeat = 0
        self._heartbeat_seen = asyncio.Event()
        self._observe = observe or (lambda scope, event: None)
        self._needed = needed
        self._denied_wait = denied_wait
        self._version = ""
        self._listed = float("-inf")
        self._proven = float("-inf")
        self._denied_since: float | None = None
        self._older_lists = 0
        self._backoff = Backoff()
        self._watching: asyncio.Task[None] | None = None
        self._suspected = ""

    def staleness(self) -> float:
        """Seconds since this scope was last proven current; inf before."""
        return time.monotonic() - self._proven

    @property
    def denied(self) -> bool:
        """Whether the server has answered, and did not let us."""
        return self._denied_since is not None

    def prove(self, moment: float) -> None:
        """What was true at `moment` (monotonic) is in the index."""
        self._proven = max(self._proven, moment)

    def suspect(self, why: str) -> None:
        """Cuts the present watch, which no longer brings what it should; another one is begun at the same place."""
        if self._watching and not self._watching.done():
            self._suspected = why
            self._watching.cancel()

    async def wait_for_heartbeat(self, count: int, seconds: float) -> bool:
        """Whether the heartbeat of that count, or a later one, comes through the watch within `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._heartbeat < count:
            self._heartbeat_seen.clear()
            left = deadline - asyncio.get_running_loop().time()
            try:
                # Not wait_for: in Python 3.11 that swallows a cancellation that comes together with the event.
                async with asyncio.timeout(max(left, 0)):
                    await self._heartbeat_seen.wait()
            except TimeoutError:
                return False
        return True

    def relist(self) -> None:
        """Makes the next round begin with a list, and the present one end."""
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
                wait = self._denied_wait() if error.status in _REFUSED else self._backoff.next(error.retry_after)
            except (StateError, ValueError) as error:
                self._failed(error)
                wait = self._backoff.next()
            except Exception:
                # Whatever it is: a watch that is not running is a revocation that is not felt.
                logger.exception("the watch of %s failed in an unforeseen way; it begins again", self.scope)
                self._version = ""
                wait = self._backoff.next()
            await asyncio.sleep(wait)

    async def _round(self) -> float:
        """Lists if need be, watches until the watch ends. Returns the seconds to wait before the next round."""
        if not self._version or time.monotonic() - self._listed > _RELIST_SECONDS:
            await self._list()
        began, version = time.monotonic(), self._version
        self._watching = asyncio.create_task(self._watch())
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
        short = time.monotonic() - began < _SHORT_WATCH_SECONDS and self._version == version
        if short:
            self._note("short", "the watch ended at once")
            return self._backoff.next()
        self._backoff.reset()
        return 0.0

    async def _list(self) -> None:
        began = time.monotonic()
        objects: dict[Key, dict[str, Any]] = {}
        version = ""
        async for page in self._api.pages(self.scope):
            version = version_in(page)
            for item in page.get("items") or ():
                key = key_in(self.scope.kind, item) if isinstance(item, dict) else None
                if key is not None:
                    objects[key] = item
            await asyncio.sleep(0)
        if not version:
            raise Unavailable("a list without a resource version")
        self._refuse_rollback(version)
        for key in self.held.keys() - objects.keys():
            self._remove(key)
        for key, item in objects.items():
            self._put(key, item)
        self._version, self._listed = version, time.monotonic()
        self._denied_since, self.last_error = None, ""
        self.prove(began)
        self.synced.set()
        self._observe(str(self.scope), "listed")

    def _refuse_rollback(self, version: str) -> None:
        """A list older than what was seen comes from a stale replica; only a restored etcd says so again and again."""
        newest = max((held for held in self.held.values() if held.isdigit()), key=int, default="")
        if not is_older(version, newest):
            self._older_lists = 0
            return
        self._older_lists += 1
        if self._older_lists < _ROLLBACK_LISTS:
            raise Unavailable(f"a list as of {version} although {newest} was seen: a stale API server replica")
        logger.error("the API server keeps showing older state of %s; taken for restored from a backup", self.scope)
        for key in list(self.held):
            self._remove(key)

    async def _watch(self) -> None:
        seconds = random.randint(300, 600)  # noqa: S311 - spreads the load of reconnecting
        async with self._api.watch(self.scope, self._version, seconds) as events:
            self._observe(str(self.scope), "watching")
            self._denied_since = None
            async for event in events:
                self._take(event["type"], event["object"])

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
        self._version = version

    def _put(self, key: Key, item: dict[str, Any]) -> None:
        self._note_heartbeat(item)
        self.held[key] = version_in(item)
        self._feed.put(key, item)

    def _remove(self, key: Key) -> None:
        self.held.pop(key, None)
        self._feed.remove(key)

    def _note_heartbeat(self, item: dict[str, Any]) -> None:
        annotations = item.get("metadata", {}).get("annotations")
        count = annotations.get(self._heartbeat_name) if isinstance(annotations, dict) else None
        if isinstance(count, str) and (digits := count.rpartition("-")[2]).isdigit():
            self._heartbeat = max(self._heartbeat, int(digits))
            self._heartbeat_seen.set()

    def _failed(self, error: Exception) -> None:
        status = error.status if isinstance(error, Unavailable) else 0
        self._note("failed", str(error))
        if status not in _REFUSED and not isinstance(error, NotFound):
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

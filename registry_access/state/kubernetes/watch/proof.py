"""Proving, again and again, that a watch cache is current: the time of the proof is taken before the question is asked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from registry_access.model.errors import InvalidManifest, NotFound, StateError
from registry_access.model.resources import Key, Kind
from registry_access.state.kubernetes.client.api import (
    APPLY_PATCH,
    FIELD_MANAGER,
    MERGE_PATCH,
    METADATA_LIST,
    Gone,
    KubernetesApi,
    Unavailable,
)
from registry_access.state.kubernetes.client.resource_path import object_path
from registry_access.state.kubernetes.watch.feed import (
    HEARTBEAT_LABEL,
    HEARTBEAT_NAME,
    HEARTBEAT_PREFIX,
    is_older,
    key_in,
    version_in,
)
from registry_access.state.kubernetes.watch.reflector import REFUSED, Reflector

logger = logging.getLogger(__name__)
_GRACE_SECONDS = 0.9
# On any answer of an API server or a proxy before it: if the proof loop ended, every pull would be refused for good.
_GOES_ON = "unexpected error while proving %s current; retrying"
_GRACE_MAXIMUM = 8.0
_KEEP_SECONDS = 3600  # heartbeats of replicas that are gone
# The smallest valid object of each kind; no pod, host or registry can match what it names.
_SPECS: dict[Kind, dict[str, Any]] = {
    Kind.REGISTRY_CREDENTIAL: {"registry": "heartbeat.invalid", "type": "Anonymous", "disabled": True},
    Kind.PRODUCT: {"repositories": ["heartbeat.invalid/none"]},
    Kind.INSTALL: {"repositories": ["heartbeat.invalid/none"], "revoked": True},
    Kind.PULL_GRANT: {"host": "heartbeat.invalid", "images": ["heartbeat.invalid/none"], "pullSecret": "none"},
}


class HeartbeatProof:
    """Annotates an object of the watched kind and waits to see it return through the very watch.

    One object a kind, in our own namespace, shared by all replicas (an annotation each), with the label that the watch selects
    by; for namespaces it is our namespace itself. A heartbeat that does not return within 0.9 s makes the watch suspect, so that
    with one every second a half-open connection is noticed within 2 s; a server that is merely slow is given more time, miss by
    miss.
    """

    def __init__(
        self,
        api: KubernetesApi,
        reflector: Reflector,
        system_namespace: str,
        replica: str,
        seconds: float,
        grace: float = _GRACE_SECONDS,
    ) -> None:
        self._api = api
        self._reflector = reflector
        self._annotation = HEARTBEAT_PREFIX + replica
        self._seconds = seconds
        self._grace = self._first_grace = grace
        kind = reflector.scope.kind
        namespaced = Key(kind, system_namespace, HEARTBEAT_NAME)
        self._key = namespaced if kind.namespaced else Key(kind, "", system_namespace)

    async def run(self) -> None:
        """For ever; ends only by cancellation."""
        count = 0
        tidied = False
        while True:
            await self._reflector.synced.wait()
            count += 1
            began = time.monotonic()
            try:
                if not tidied:
                    tidied = True
                    await self._tidy()
                await self._beat(count, began)
            except NotFound:
                if await self._make():
                    continue
            except (StateError, InvalidManifest) as error:
                # No answer may mean that our connections lead nowhere; an answer means that they do not.
                if isinstance(error, Unavailable) and error.status == 0:
                    self._reflector.suspect("no answer to a heartbeat")
                logger.debug("no heartbeat for %s: %s", self._reflector.scope, error)
            except Exception:
                logger.exception(_GOES_ON, self._reflector.scope)
            await asyncio.sleep(max(self._seconds - (time.monotonic() - began), 0.05))

    async def withdraw(self) -> None:
        """Removes this replica's annotation."""
        with contextlib.suppress(StateError, InvalidManifest):
            await self._annotate({self._annotation: None}, 1.0)

    async def _beat(self, count: int, began: float) -> None:
        await self._annotate({self._annotation: f"{int(time.time())}-{count}"}, max(self._grace, self._first_grace))
        if await self._reflector.heartbeats.wait_for(count, began + self._grace - time.monotonic()):
            self._grace = self._first_grace
            self._reflector.prove(began)
        else:
            self._grace = min(self._grace * 2, _GRACE_MAXIMUM)
            self._reflector.suspect("a heartbeat did not come through")

    async def _annotate(self, annotations: dict[str, str | None], timeout: float) -> None:
        await self._api.request(
            "PATCH",
            object_path(self._key),
            body={"metadata": {"annotations": annotations}},
            query={"fieldManager": FIELD_MANAGER},
            content_type=MERGE_PATCH,
            timeout=timeout,
        )

    async def _make(self) -> bool:
        """Makes the object to annotate; whether that went well."""
        if self._key.kind is Kind.NAMESPACE:
            logger.warning("the namespace %s does not exist; freshness of namespaces is proven through it", self._key.name)
            return False
        selected = self._reflector.scope.label_selector
        labels = {HEARTBEAT_LABEL: "true"} | ({selected: HEARTBEAT_NAME} if selected else {})
        manifest: dict[str, Any] = {
            "apiVersion": self._key.kind.api_version,
            "kind": str(self._key.kind),
            "metadata": {"name": self._key.name, "namespace": self._key.namespace, "labels": labels},
        }
        if self._key.kind in _SPECS:
            manifest["spec"] = _SPECS[self._key.kind]
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        try:
            await self._api.request("PATCH", object_path(self._key), body=manifest, query=query, content_type=APPLY_PATCH)
        except (StateError, InvalidManifest) as error:
            logger.warning("the heartbeat object %s cannot be made: %s", self._key, error)
            return False
        return True

    async def _tidy(self) -> None:
        """Removes the annotations of replicas that have not been heard of for an hour."""
        with contextlib.suppress(StateError, InvalidManifest):
            found = await self._api.request("GET", object_path(self._key))
            annotations = found.get("metadata", {}).get("annotations") or {}
            ours = {name: str(value) for name, value in annotations.items() if name.startswith(HEARTBEAT_PREFIX)}
            old = {name: None for name, value in ours.items() if _age(value) > _KEEP_SECONDS}
            if old:
                await self._annotate(dict(old), 2.0)


class ListProof:
    """Compares what is held with a consistent list of names and versions. It only reads, and no values: made for the Secrets of a
    workspace, where nothing of ours may be written. `seconds` gives the interval.
    """

    def __init__(self, api: KubernetesApi, reflector: Reflector, seconds: Callable[[], float]) -> None:
        self._api = api
        self._reflector = reflector
        self._seconds = seconds

    async def run(self) -> None:
        """For ever; ends only by cancellation."""
        await self._reflector.synced.wait()
        # The scopes of a store are read together; from here on each asks at a time of its own.
        await asyncio.sleep(random.uniform(0, self._seconds()))  # noqa: S311 - spreads load
        while True:
            await self._reflector.synced.wait()
            began = time.monotonic()
            try:
                await self._compare(began)
            except Unavailable as error:
                if error.status in REFUSED:
                    # A watch that is open goes on after the right to it was withdrawn; the next one shows what is to be done.
                    self._reflector.suspect(str(error))
                logger.debug("no proof for %s: %s", self._reflector.scope, error)
            except (StateError, InvalidManifest, Gone) as error:
                logger.debug("no proof for %s: %s", self._reflector.scope, error)
            except Exception:
                logger.exception(_GOES_ON, self._reflector.scope)
            await asyncio.sleep(max(self._seconds() - (time.monotonic() - began), 0.05))

    async def _compare(self, began: float) -> None:
        listed: dict[Key, str] = {}
        version = ""
        async for page in self._api.pages(self._reflector.scope, accept=METADATA_LIST):
            version = version or version_in(page)
            for item in page.get("items") or ():
                key = key_in(self._reflector.scope.kind, item)
                if key is not None:
                    listed[key] = version_in(item)
        for _ in range(10):
            if self._covers(listed, version):
                self._reflector.prove(began)
                return
            await asyncio.sleep(0.05)
        self._reflector.relist()

    def _covers(self, listed: dict[Key, str], version: str) -> bool:
        """Whether what is held is the list, or later than the list."""
        held = self._reflector.held
        known = all(key in held and not is_older(held[key], found) for key, found in listed.items())
        return known and all(key in listed or is_older(version, found) for key, found in held.items())


def _age(heartbeat: str) -> float:
    """Seconds since a heartbeat's own time; replicas' clocks may differ, which an hour forgives."""
    seconds = heartbeat.partition("-")[0]
    return time.time() - int(seconds) if seconds.isdigit() else float("inf")

"""Keeps signing keys young and published."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from registry_access.model.resources import Kind
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.runtime.keeping import keep
from registry_access.state.index import Change
from registry_access.state.interface import StateStore
from registry_access.state.signing_keys import INSTALL_TOKEN_JWKS, ensure_keys, publish, rotate_keys

logger = logging.getLogger(__name__)
ROTATION_SECONDS = 90 * 86400.0
_LOOK_SECONDS = 600.0


class KeyCare:
    """Rotates the keys in the Secret `name` every 90 days, or when it gets the annotation `registry.akua.dev/rotate-requested`.

    Deleting the Secret burns the keys: every token is worthless at once, and new ones are minted with a new key.
    `lifetime`: seconds for which the longest-lived token is valid. `publish_as`: the field manager that publishes the public
    halves, again when somebody spoilt or deleted them; None: nobody else needs them.
    """

    def __init__(
        self, store: StateStore, name: str, lifetime: float, clock: Callable[[], float], *, publish_as: str | None = None
    ) -> None:
        self._store = store
        self._name = name
        self._publish_as = publish_as
        self._lifetime = lifetime
        self._clock = clock
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        unsubscribe = self._store.index.subscribe(self._changed, {Kind.SECRET})
        try:
            await keep(self.look, _LOOK_SECONDS, self._wake, warning="the signing keys cannot be kept", logger=logger)
        finally:
            unsubscribe()

    async def look(self) -> None:
        """Raises StateError, and InvalidInput when the private keys' Secret is spoilt: then a person must decide."""
        await ensure_keys(self._store, self._name)
        keys = await rotate_keys(
            self._store,
            self._name,
            self._clock(),
            self._lifetime,
            publish_as=self._publish_as,
            if_older=ROTATION_SECONDS,
        )
        if self._publish_as is not None:
            await publish(self._store, keys, self._publish_as)

    def _changed(self, change: Change) -> None:
        if change.key.namespace == SYSTEM_NAMESPACE and change.key.name in (self._name, INSTALL_TOKEN_JWKS):
            self._wake.set()

"""Waits for the answers of an install sync, which appear in the installs' statuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from control.session import Session
from registry_access.model.errors import StateUnavailable
from registry_access.model.listing import and_more
from registry_access.model.resources import Install, Kind
from registry_access.model.resources.install import InstallStatus
from registry_access.model.resources.metadata import SYNCED, SYSTEM_NAMESPACE
from registry_access.state.index import Change
from webhook.assembly import LEASE
from webhook.install_sync.reports.status import SYNCING

_SHOWN = 5


class SyncProgress(Protocol):
    """A context manager that receives the progress of each install, and its result once."""

    def __enter__(self) -> SyncProgress: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def at(self, install: str, text: str) -> None: ...

    def done(self, install: str, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """`is_answer` tells whether a status answers the request. `patience` is how many seconds without news to wait."""

    is_answer: Callable[[InstallStatus], bool]
    patience: float


async def answers(session: Session, chosen: Sequence[Install], asked: Asked, progress: SyncProgress) -> list[Install]:
    """The installs with their answers, without those deleted meanwhile. Raises StateUnavailable."""
    waiting = {install.metadata.name for install in chosen}
    found: list[Install] = []
    changed, news = set(waiting), asyncio.Event()

    def note(change: Change) -> None:
        if change.key.namespace == session.workspace and change.key.name in waiting:
            changed.add(change.key.name)
            news.set()

    unsubscribe = session.index.subscribe(note, {Kind.INSTALL})
    try:
        while True:
            while changed:
                name = changed.pop()
                install = session.index.install(session.workspace, name)
                if install is None:
                    waiting.discard(name)
                    progress.done(name, "was deleted meanwhile")
                elif asked.is_answer(install.status):
                    waiting.discard(name)
                    found.append(install)
                    progress.done(name, sync_outcome(install))
                elif under_way := _message(install, SYNCING):
                    progress.at(name, under_way)
            if not waiting:
                return sorted(found, key=lambda install: install.metadata.name)
            news.clear()
            async with asyncio.timeout(asked.patience):
                await news.wait()
    except TimeoutError:
        shown = and_more(sorted(waiting), _SHOWN)
        raise StateUnavailable(
            f"no answer for {asked.patience:g} s, still waiting for {shown}; check that an install sync leads: "
            f"`kubectl -n {SYSTEM_NAMESPACE} get lease {LEASE}`"
        ) from None
    finally:
        unsubscribe()


def sync_failure(install: Install) -> str:
    """Why the install is not in all its targets; "" if it is."""
    found = install.status.condition(SYNCED)
    return f"{found.reason}: {found.message}" if found is not None and found.status == "False" else ""


def sync_outcome(install: Install) -> str:
    """The result of an install's sync, as a sentence."""
    return sync_failure(install) or _message(install, SYNCED) or "synced"


def _message(install: Install, kind: str) -> str:
    found = install.status.condition(kind)
    return found.message if found else ""

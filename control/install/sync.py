"""Reconciles installs now: in this process with state in a folder, through the leader's install sync in a cluster."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from control.install.answers import Asked, SyncProgress, answers, sync_outcome
from control.session import Session
from registry_access.model.errors import StateUnavailable
from registry_access.model.resources import Install, Key, Kind
from registry_access.model.resources.metadata import SYNC_REQUESTED_ANNOTATION, SYSTEM_NAMESPACE
from registry_access.model.timestamp import rfc3339
from webhook.assembly import LEASE, build_install_sync
from webhook.metrics import WebhookMetrics

_FORBIDDEN = 403
_LOOK_SECONDS = 0.3


async def sync_installs(
    session: Session, chosen: Sequence[Install], progress: SyncProgress, *, everything: bool, patience: float
) -> list[Install]:
    """The installs with the results of their sync. `everything`: `chosen` is the whole workspace; `patience` is in seconds.

    Raises StateUnavailable if no install sync answers.
    """
    if session.settings.in_cluster:
        return await _ask(session, chosen, progress, everything=everything, patience=patience)
    return await _sync_here(session, chosen, progress)


async def _sync_here(session: Session, chosen: Sequence[Install], progress: SyncProgress) -> list[Install]:
    parts = await build_install_sync(session.settings, session.store, WebhookMetrics())
    try:
        for found in chosen:
            await parts.reconciler.reconcile(found.workspace, found.metadata.name, anyway=True)
            progress.done(found.metadata.name, sync_outcome(session.install(found.metadata.name)))
    finally:
        await parts.close()
    return [session.install(found.metadata.name) for found in chosen]


async def _ask(
    session: Session, chosen: Sequence[Install], progress: SyncProgress, *, everything: bool, patience: float
) -> list[Install]:
    """Raises StateUnavailable if no install sync answers."""
    await _refuse_without_leader(session)
    async with _followed(session):
        return await _answered(session, chosen, progress, everything=everything, patience=patience)


async def _answered(
    session: Session, chosen: Sequence[Install], progress: SyncProgress, *, everything: bool, patience: float
) -> list[Install]:
    request = f"{rfc3339(datetime.now(UTC))} {secrets.token_hex(4)}"
    if everything and await _annotate(session, Key(Kind.NAMESPACE, "", session.workspace), request):
        asked = Asked(lambda status: status.observed_workspace_sync_request == request, patience)
        return await answers(session, chosen, asked, progress)
    for install in chosen:
        if not await _annotate(session, install.key, request):
            raise StateUnavailable(f"you may not patch {install.key}, so akua cannot request its sync")
    return await answers(session, chosen, Asked(lambda status: status.observed_sync_request == request, patience), progress)


@asynccontextmanager
async def _followed(session: Session) -> AsyncIterator[None]:
    """Keeps the installs of the snapshot up to date."""

    async def follow() -> None:
        wait = _LOOK_SECONDS
        while True:
            await asyncio.sleep(wait)
            began = time.monotonic()
            with suppress(StateUnavailable):  # the waiting caller has its own time-out
                await session.store.refresh(Kind.INSTALL)
            wait = max(_LOOK_SECONDS, 4 * (time.monotonic() - began))  # thousands of installs are a long list

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()


async def _refuse_without_leader(session: Session) -> None:
    from registry_access.state.kubernetes.client.api import Unavailable
    from registry_access.state.kubernetes.leader_election import holder_of

    if session.store.api is None:
        return
    try:
        holder = await holder_of(session.store.api, SYSTEM_NAMESPACE, LEASE)
    except Unavailable as error:
        if error.status != _FORBIDDEN:
            raise
        return  # a user who may not read the Lease just sends the request
    if not holder:
        raise StateUnavailable(
            f"no install sync runs in this cluster; run `kubectl -n {SYSTEM_NAMESPACE} get pods` to check akua-webhook"
        )


async def _annotate(session: Session, key: Key, request: str) -> bool:
    """False when that is not allowed."""
    from registry_access.state.kubernetes.client.api import Unavailable

    try:
        await session.store.patch(key, {"metadata": {"annotations": {SYNC_REQUESTED_ANNOTATION: request}}})
    except Unavailable as error:
        if error.status != _FORBIDDEN:
            raise
        return False
    return True

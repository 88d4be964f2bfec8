"""Tests credentials from the command line: a real login, recently pulled manifests, and the result."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

from control.session import Session
from proxy.assembly import upstream_settings
from proxy.metrics import ProxyMetrics
from proxy.upstream.network.private_registries import ANY
from proxy.upstream.upstreams import UpstreamAccess, Upstreams
from proxy.upstream.verification import Verification, verify_credential
from registry_access.audit.interface import AuditQuery
from registry_access.audit.trail import sql_trail
from registry_access.model.audit_event import Operation, Result
from registry_access.model.errors import AuditUnavailable
from registry_access.model.resources import Condition, RegistryCredential
from registry_access.model.workspace_secret import ResolvedSecret

VERIFIED = "Verified"
_RECENT = 5  # recently pulled manifests that a new secret must open
_LOOKED_AT = 500  # audit rows
Image = tuple[str, str]  # repository, tag or digest


@asynccontextmanager
async def _upstreams(session: Session) -> AsyncIterator[Upstreams]:
    # This is the administrator's own machine; the proxy in the cluster has its own setting for reachable networks.
    settings = replace(upstream_settings(session.settings), private_registries=(ANY,), own_ports=())
    upstreams = Upstreams(settings, ProxyMetrics())
    await upstreams.start()
    try:
        yield upstreams
    finally:
        await upstreams.close()


async def try_credential(
    session: Session, credential: RegistryCredential, secret: ResolvedSecret, image: Image | None
) -> Verification:
    """Logs in with `secret` and, if `image` is given, requests its manifest.

    With state in a folder, the outcome is written to the credential's status. In a cluster the status reports the proxy's own
    pulls; a result from another network does not belong there.
    """
    async with _upstreams(session) as upstreams:
        access = UpstreamAccess(session.workspace, credential, secret)
        found = await verify_credential(upstreams, access, credential.registry, image)
    if not session.settings.in_cluster:
        await report(session, credential, found)
    return found


async def try_values(
    session: Session, credential: RegistryCredential, values: Mapping[str, str]
) -> Sequence[tuple[str, Verification]]:
    """Tests a staged secret: the login, and the manifests recently pulled with this credential."""
    secret = ResolvedSecret("staged", dict(values), "staged")
    images: list[Image | None] = [None, *await recently_pulled(session, credential)]
    async with _upstreams(session) as upstreams:
        access = UpstreamAccess(session.workspace, credential, secret)
        return [
            (_name(credential, image), await verify_credential(upstreams, access, credential.registry, image)) for image in images
        ]


async def recently_pulled(session: Session, credential: RegistryCredential) -> Sequence[Image]:
    """The newest few manifests that this credential opened, from the audit trail; empty if there is no trail yet."""
    trail = sql_trail(session.settings.audit_dsn, read_only=True)
    await trail.start()
    query = AuditQuery(workspace=session.workspace, registry=credential.registry, result=Result.ALLOWED, limit=_LOOKED_AT)
    try:
        rows = (await trail.query(query)).rows
    except AuditUnavailable:
        return ()
    finally:
        await trail.stop()
    found = dict.fromkeys(
        (row.event.repository, row.event.reference)
        for row in rows
        if row.event.operation in (Operation.PULL_MANIFEST, Operation.HEAD_MANIFEST)
        and row.outcome is not None
        and row.outcome.credential == credential.metadata.name
    )
    return tuple(found)[:_RECENT]


async def report(session: Session, credential: RegistryCredential, found: Verification) -> None:
    """Writes the outcome to the credential's `Verified` condition."""
    now = datetime.now(UTC).replace(microsecond=0)
    status = "True" if found.ok else "False"
    before = credential.status.condition(VERIFIED)
    moved = before.last_transition_time if before is not None and before.status == status else now
    reason = "".join(word.capitalize() for word in found.outcome.split("-"))
    condition = Condition(VERIFIED, status, reason, found.detail, credential.metadata.generation, moved)
    others = [item for item in credential.status.conditions if item.type != VERIFIED]
    conditions = [item.to_manifest() for item in (*others, condition)]
    await session.store.patch_status(credential.key, {"conditions": conditions})


def _name(credential: RegistryCredential, image: Image | None) -> str:
    if image is None:
        return credential.registry
    separator = "@" if image[1].startswith("sha256:") else ":"
    return f"{credential.registry}/{image[0]}{separator}{image[1]}"

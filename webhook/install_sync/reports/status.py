"""What an install's status says: is it working, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from registry_access.model.errors import AkuaError, InvalidInput
from registry_access.model.listing import and_more
from registry_access.model.resources import Condition, Install, Product, TargetStatus
from registry_access.model.resources.install import MAXIMUM_TARGET_STATUS, Standing
from registry_access.model.resources.metadata import PULLABLE, READY, SYNCED, condition_of
from registry_access.model.timestamp import rfc3339
from webhook.install_sync.objects.minting import InstallToken
from webhook.install_sync.sync_request import SyncRequest

_SHOWN = 3
SYNCING = "Syncing"


class ConditionReason(StrEnum):
    """Why a condition is as it is; docs/installs.md says what to do about each."""

    ENTITLED = "Entitled"
    REVOKED = "Revoked"
    EXPIRED = "Expired"
    PRODUCT_MISSING = "ProductMissing"
    NOT_A_WORKSPACE = "NotAWorkspace"
    PROVISIONED = "Provisioned"
    OVERLAP = "Overlap"
    NO_TARGETS = "NoTargets"
    TARGET_FAILED = "TargetFailed"
    CLUSTER_INVALID = "ClusterInvalid"
    CLUSTER_UNREACHABLE = "ClusterUnreachable"
    WRITING = "Writing"


def not_a_workspace(install: Install, problem: str) -> tuple[Condition, Condition]:
    """Ready and Synced of an install whose namespace is not a workspace, as `ResourceIndex.workspace_problem` says it."""
    return (
        _condition(install, READY, "False", ConditionReason.NOT_A_WORKSPACE, f"every pull is refused: {problem}"),
        _condition(install, SYNCED, "False", ConditionReason.NOT_A_WORKSPACE, f"nothing is written for it: {problem}"),
    )


def ready_condition(install: Install, product: Product | None, now: datetime) -> Condition:
    """Whether pulls of this install are let through: by its own state, and by what the proxy says of its credentials."""
    match install.standing(now):
        case Standing.REVOKED:
            way_out = "every pull is refused; set spec.revoked to false to restore it"
            return _condition(install, READY, "False", ConditionReason.REVOKED, way_out)
        case Standing.EXPIRED:
            way_out = "every pull is refused; set a later spec.expiresAt"
            return _condition(install, READY, "False", ConditionReason.EXPIRED, way_out)
    if install.product and product is None:
        return _condition(
            install,
            READY,
            "False",
            ConditionReason.PRODUCT_MISSING,
            f"product {install.product} does not exist in this workspace",
        )
    pullable = condition_of(install.status.conditions, PULLABLE)
    if pullable is not None and pullable.status == "False":
        # The proxy's own word: it alone sees credentials, their Secrets, and what upstreams answer.
        return Condition(READY, "False", pullable.reason, pullable.message, install.metadata.generation)
    return _condition(install, READY, "True", ConditionReason.ENTITLED, "")


def synced_condition(
    install: Install, targets: Sequence[TargetStatus], overlaps: Sequence[str], reminders: Sequence[str] = ()
) -> Condition:
    """Whether every target namespace has its grant and Secret."""
    missing = [target for target in targets if not target.synced]
    if missing:
        message = and_more([f"{target.namespace}: {target.message}" for target in missing], 1)
        return _condition(install, SYNCED, "False", ConditionReason.TARGET_FAILED, message)
    if overlaps:
        message = and_more(overlaps, _SHOWN, separator="; ")
        return _condition(install, SYNCED, "True", ConditionReason.OVERLAP, message)
    if not targets:
        return _condition(
            install, SYNCED, "True", ConditionReason.NO_TARGETS, "no namespace is named or matched; use `akua install token`"
        )
    message = f"{len(targets)} namespace{'s' if len(targets) > 1 else ''}"
    if reminders:
        message += f"; {and_more(reminders, _SHOWN, separator='; ')}"
    return _condition(install, SYNCED, "True", ConditionReason.PROVISIONED, message)


def cluster_condition(install: Install, error: AkuaError) -> Condition:
    """The remote cluster cannot be used, or does not answer."""
    invalid = isinstance(error, InvalidInput)
    reason = ConditionReason.CLUSTER_INVALID if invalid else ConditionReason.CLUSTER_UNREACHABLE
    return _condition(install, SYNCED, "False", reason, str(error))


def syncing_condition(install: Install, done: int, total: int) -> Condition:
    """How far a sync of many namespaces is."""
    return _condition(install, SYNCING, "True", ConditionReason.WRITING, f"{done:,} of {total:,} namespaces")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at an install found. None for `targets` or `token`: nothing new is known of them.

    `answered`: the request that this look was the answer to. `wrote`: whether anything was written to a target.
    """

    conditions: Sequence[Condition]
    targets: Sequence[TargetStatus] | None = None
    token: InstallToken | None = None
    answered: SyncRequest | None = None
    wrote: bool = False


def status_patch(install: Install, found: Findings, now: datetime) -> dict[str, object] | None:
    """The merge patch of the status, or None when it says all this already. Transition times move only with the status."""
    before = {condition.type: condition for condition in install.status.conditions}
    replaced = {SYNCING, *(condition.type for condition in found.conditions)}
    kept = [condition for condition in install.status.conditions if condition.type not in replaced]
    merged = [*kept, *(condition.following(before.get(condition.type), now) for condition in found.conditions)]
    wanted: dict[str, object] = {"conditions": [condition.to_manifest() for condition in merged]}
    if found.token is not None:
        wanted["tokenID"] = found.token.claims.token_id
        wanted["tokenExpiresAt"] = rfc3339(found.token.expires)
    if found.targets is not None:
        # What is not synced comes first, should there be more than a status holds.
        listed = sorted(found.targets, key=lambda target: target.synced)[:MAXIMUM_TARGET_STATUS]
        wanted["targets"] = [target.to_manifest() for target in sorted(listed, key=lambda target: target.namespace)]
    if found.wrote or found.answered:
        wanted["lastSyncTime"] = rfc3339(now)
    if found.answered and found.answered.install:
        wanted["observedSyncRequest"] = found.answered.install
    if found.answered and found.answered.workspace:
        wanted["observedWorkspaceSyncRequest"] = found.answered.workspace
    present = install.status.to_manifest()
    return None if all(present.get(name, []) == value for name, value in wanted.items()) else wanted


def _condition(install: Install, kind: str, status: str, reason: ConditionReason, message: str) -> Condition:
    return Condition(kind, status, str(reason), message, install.metadata.generation)

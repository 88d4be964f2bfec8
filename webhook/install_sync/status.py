"""What an install's status says: is it working, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from registry_access.model.resources import Condition, Install, Product, TargetStatus
from webhook.install_sync.minting import InstallToken

READY, SYNCED = "Ready", "Synced"


def ready_condition(install: Install, product: Product | None, now: datetime) -> Condition:
    """Whether pulls of this install can be allowed at all."""
    if install.revoked:
        return _condition(install, READY, "False", "Revoked", "every pull is refused; set spec.revoked to false to restore it")
    if install.expires_at is not None and install.expires_at <= now:
        return _condition(install, READY, "False", "Expired", "every pull is refused; set a later spec.expiresAt")
    if install.product and product is None:
        return _condition(
            install, READY, "False", "ProductMissing", f"product {install.product} does not exist in this workspace"
        )
    return _condition(install, READY, "True", "Entitled", "")


def synced_condition(install: Install, targets: Sequence[TargetStatus], overlaps: Sequence[str]) -> Condition:
    """Whether every target namespace has its grant and Secret."""
    missing = [target for target in targets if not target.synced]
    if missing:
        first = missing[0]
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        return _condition(install, SYNCED, "False", "TargetFailed", f"{first.namespace}: {first.message}{more}")
    if overlaps:
        return _condition(install, SYNCED, "True", "Overlap", "; ".join(overlaps))
    if not targets:
        return _condition(install, SYNCED, "True", "NoTargets", "no namespace is named or matched; use `akua install token`")
    return _condition(install, SYNCED, "True", "Provisioned", f"{len(targets)} namespace{'s' if len(targets) > 1 else ''}")


def status_patch(
    install: Install, conditions: Sequence[Condition], targets: Sequence[TargetStatus], token: InstallToken, now: datetime
) -> dict[str, object] | None:
    """The merge patch of the status, or None when it says all this already. Transition times move only with the status."""
    before = {condition.type: condition for condition in install.status.conditions}
    kept = [condition for condition in install.status.conditions if condition.type not in (READY, SYNCED)]
    merged = [*kept, *(_with_time(condition, before.get(condition.type), now) for condition in conditions)]
    wanted: dict[str, object] = {
        "conditions": [condition.to_manifest() for condition in merged],
        "tokenID": token.claims.token_id,
        "tokenExpiresAt": datetime.fromtimestamp(token.claims.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "targets": [target.to_manifest() for target in targets],
    }
    present = install.status.to_manifest()
    return None if all(present.get(name, []) == value for name, value in wanted.items()) else wanted


def _condition(install: Install, kind: str, status: str, reason: str, message: str) -> Condition:
    return Condition(kind, status, reason, message, install.metadata.generation)


def _with_time(condition: Condition, before: Condition | None, now: datetime) -> Condition:
    moved = before is None or before.status != condition.status or before.last_transition_time is None
    moment = now.replace(microsecond=0) if moved or before is None else before.last_transition_time
    return Condition(condition.type, condition.status, condition.reason, condition.message, condition.observed_generation, moment)

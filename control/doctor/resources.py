"""Credentials and installs: can they be used, and if not, why?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from control.doctor.finding import EXPIRY_WARNING_DAYS, Check, bad, good, warning
from control.duration import span
from registry_access.model.resources import Condition, Install, RegistryCredential
from registry_access.model.workspace_secret import SecretProblem, resolve_secret
from registry_access.state.index import ResourceIndex

R = TypeVar("R", RegistryCredential, Install)
_READY, _SYNCED, _VERIFIED = "Ready", "Synced", "Verified"


def credential_checks(index: ResourceIndex, workspace: str = "", *, unseen_secrets: Collection[str] = ()) -> list[Check]:
    """A line a credential, of one workspace or ("") all. `unseen_secrets`: workspaces whose Secrets could not be looked at."""
    found = _of(workspace, index.all_credentials())
    return [_credential(item, index, seen=item.workspace not in unseen_secrets) for item in found]


def install_checks(index: ResourceIndex, workspace: str = "", now: datetime | None = None) -> list[Check]:
    """A line an install, of one workspace or ("") all. `now` is for tests."""
    found = _of(workspace, index.installs())
    return [_install(item, index, now or datetime.now(UTC)) for item in found]


def _of(workspace: str, resources: Iterable[R]) -> list[R]:
    found = (item for item in resources if workspace in ("", item.workspace))
    return sorted(found, key=lambda item: (item.workspace, item.metadata.name))


def _credential(item: RegistryCredential, index: ResourceIndex, *, seen: bool) -> Check:
    name = f"credential {item.workspace}/{item.metadata.name}"
    if item.disabled:
        return warning(name, f"is disabled; `akua credential enable {item.metadata.name}` restores it")
    secret = resolve_secret(item, partial(index.secret, item.workspace)) if seen else None
    if isinstance(secret, SecretProblem):
        return bad(name, secret.detail)
    if problem := _failed(item.status.conditions, _READY):
        return bad(name, problem)
    if problem := _failed(item.status.conditions, _VERIFIED):
        return bad(name, f"the login was refused: {problem}; `akua credential test {item.metadata.name}` tries it again")
    if secret is None:
        return warning(name, f"{item.registry}; whether its secret is there cannot be seen: you may not list Secrets there")
    verified = any(each.type == _VERIFIED for each in item.status.conditions)
    return good(name, f"{item.registry}, secret version {secret.version}{', login tried' if verified else ''}")


def _install(item: Install, index: ResourceIndex, now: datetime) -> Check:
    name, command = f"install {item.workspace}/{item.metadata.name}", f"`akua install restore {item.metadata.name}`"
    failed = [target for target in item.status.targets if not target.synced]
    if item.deleting:
        return warning(name, "is being deleted; the install sync takes back what it wrote")
    if item.product and index.product(item.workspace, item.product) is None:
        return bad(name, f"product {item.product} does not exist; create it, or name another")
    if item.revoked:
        return warning(name, f"is revoked; {command} restores it")
    if item.expires_at is not None and item.expires_at <= now:
        return warning(name, f"expired at {item.expires_at:%Y-%m-%d}; set a later spec.expiresAt")
    if failed:
        return bad(name, f"namespace {failed[0].namespace}: {failed[0].message}")
    if problem := _failed(item.status.conditions, _READY) or _failed(item.status.conditions, _SYNCED):
        return bad(name, problem)
    if item.status.token_expires_at is not None and item.status.token_expires_at <= now:
        return bad(name, "the token in its pull Secrets has expired: the install sync does not renew it, see the leader's log")
    if item.expires_at is not None and (left := (item.expires_at - now).total_seconds()) < EXPIRY_WARNING_DAYS * 86400:
        return warning(name, f"expires in {span(left)}; set a later spec.expiresAt if it is to go on")
    return good(name, item.product or ", ".join(map(str, item.repositories)))


def _failed(conditions: Sequence[Condition], type: str) -> str:
    """What the condition says when it is False, "" otherwise."""
    found = next((item for item in conditions if item.type == type and item.status == "False"), None)
    return f"{found.reason}: {found.message}" if found else ""

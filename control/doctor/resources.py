"""Credentials and installs: whether they are usable, and if not, why."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from control.doctor.finding import EXPIRY_WARNING_DAYS, Check, Finding, bad, good, warning
from control.duration import span
from proxy.reporting.conditions import EXPIRY_WARNING, credential_problems, credential_ready
from registry_access.model.decision import Reason
from registry_access.model.listing import and_more
from registry_access.model.resources import Condition, Install, RegistryCredential
from registry_access.model.resources.install import Standing
from registry_access.model.resources.metadata import TAKES_ANNOTATION, condition_of
from registry_access.model.workspace_secret import NO_SECRET, UNVERSIONED, SecretProblem, resolve_secret
from registry_access.state.index import ResourceIndex
from webhook.install_sync.objects.admittance import Admittance

R = TypeVar("R", RegistryCredential, Install)
_SHOWN = 5
_READY, _SYNCED, _VERIFIED = "Ready", "Synced", "Verified"
_OF_SECRETS = frozenset({Reason.SECRET_MISSING, Reason.SECRET_INVALID})


def label_checks(index: ResourceIndex, workspace: str = "") -> list[Check]:
    """One line per namespace whose resources have no effect because it is not a workspace."""
    owners = (*index.installs(), *index.products(), *index.all_credentials())
    names = sorted({item.workspace for item in owners if workspace in ("", item.workspace)})
    return [bad(f"workspace {name}", problem) for name in names if (problem := index.workspace_problem(name))]


def state_check(index: ResourceIndex) -> Check:
    """The state was read: how many resources of each kind it holds."""
    kinds = {"install": index.installs(), "product": index.products(), "credential": index.all_credentials()}
    counts = (f"{len(found)} {kind}{'' if len(found) == 1 else 's'}" for kind, found in kinds.items())
    return good("state", f"read: {', '.join(counts)}")


def credential_checks(index: ResourceIndex, workspace: str = "", *, unseen_secrets: Collection[str] = ()) -> list[Check]:
    """One line per credential of a workspace, or of all for "". `unseen_secrets` are workspaces whose Secrets are not visible."""
    found = _of(workspace, index.all_credentials())
    return [_credential(item, index, seen=item.workspace not in unseen_secrets) for item in found]


def install_checks(
    index: ResourceIndex,
    workspace: str = "",
    now: datetime | None = None,
    *,
    credentials_seen: bool = False,
    unseen_secrets: Collection[str] = (),
) -> list[Check]:
    """One line per install of a workspace, or of all for "". `now` is for tests. `credentials_seen`: whether `index` has every
    credential, so that a missing one is reported; `unseen_secrets` as above.
    """
    found = _of(workspace, index.installs())
    checks = []
    for item in found:
        check = _install(item, index, now or datetime.now(UTC))
        if check.finding is Finding.GOOD and credentials_seen:
            check = _credentials_of(item, index, seen=item.workspace not in unseen_secrets) or check
        checks.append(check)
    return checks


def _of(workspace: str, resources: Iterable[R]) -> list[R]:
    found = (item for item in resources if workspace in ("", item.workspace))
    return sorted(found, key=lambda item: (item.workspace, item.metadata.name))


def _credential(item: RegistryCredential, index: ResourceIndex, *, seen: bool) -> Check:
    name = f"credential {item.workspace}/{item.metadata.name}"
    if problem := index.workspace_problem(item.workspace):
        return bad(name, problem)
    if item.disabled:
        return warning(name, f"is disabled; run `akua credential enable {item.metadata.name}` to use it again")
    secret = resolve_secret(item, partial(index.secret, item.workspace)) if seen else None
    if isinstance(secret, SecretProblem):
        return bad(name, secret.detail)
    now = datetime.now(UTC)
    ready, _ = credential_ready(item, index, now)
    if ready.reason in ("Ambiguous", "NotAWorkspace"):
        return bad(name, ready.message)
    if problem := _failed(item.status.conditions, _READY):
        return bad(name, problem)
    if problem := _failed(item.status.conditions, _VERIFIED):
        refused = f"the upstream refused it: {problem}"
        return bad(name, f"{refused}; replace its secret or fix its permissions there; the next pull tries it again")
    if secret is None:
        return warning(name, f"{item.registry}; you may not list Secrets there, so akua cannot tell whether its secret exists")
    if item.expires_at is not None and item.expires_at - now <= EXPIRY_WARNING:
        ends = f"ended {span((now - item.expires_at).total_seconds())} ago"
        if item.expires_at > now:
            ends = f"ends in {span((item.expires_at - now).total_seconds())}"
        judge = bad if item.expires_at <= now else warning
        return judge(name, f"its secret {ends} upstream, as spec.expiresAt says; replace the secret and update that time")
    tried = "opened by the last pull" if _says(item.status.conditions, _VERIFIED) == "True" else "not tried by a pull yet"
    if secret.version in (UNVERSIONED, NO_SECRET):
        return good(name, f"{item.registry}, {f'Secret {item.secret_name}' if item.secret_name else 'no Secret'}, {tried}")
    return good(name, f"{item.registry}, Secret {item.secret_name} version {secret.version}, {tried}")


def _install(item: Install, index: ResourceIndex, now: datetime) -> Check:
    name, command = f"install {item.workspace}/{item.metadata.name}", f"`akua install restore {item.metadata.name}`"
    failed = [target for target in item.status.targets if not target.synced]
    if item.deleting:
        return warning(name, "is being deleted; the install sync is removing what it wrote")
    if problem := index.workspace_problem(item.workspace):
        return bad(name, problem)
    if item.product and index.product(item.workspace, item.product) is None:
        return bad(name, f"product {item.product} does not exist; create it, or name another")
    match item.standing(now):
        case Standing.REVOKED:
            return warning(name, f"is revoked; run {command} to restore it")
        case Standing.EXPIRED:
            return warning(name, f"expired at {item.expires_at:%Y-%m-%d}; set a later spec.expiresAt")
    if failed:
        return bad(name, f"namespace {failed[0].namespace}: {failed[0].message}")
    if problem := _failed(item.status.conditions, _READY) or _failed(item.status.conditions, _SYNCED):
        return bad(name, problem)
    if item.status.token_expires_at is not None and item.status.token_expires_at <= now:
        return bad(
            name, "the token in its pull Secrets has expired and the install sync has not renewed it; check the leader's log"
        )
    if item.expires_at is not None and (left := (item.expires_at - now).total_seconds()) < EXPIRY_WARNING_DAYS * 86400:
        return warning(name, f"expires in {span(left)}; set a later spec.expiresAt to keep it")
    if open_only := _open_only_by_setting(item, index):
        return warning(name, open_only)
    return good(name, item.product or ", ".join(map(str, item.repositories)))


def _open_only_by_setting(item: Install, index: ResourceIndex) -> str:
    """Namespaces from which AKUA_TARGET_NAMESPACES=annotated, the default in a cluster, would withdraw the install."""
    if not index.sees_namespaces or item.kubeconfig_secret:
        return ""
    annotated = Admittance(unannotated=False)
    known = {target.namespace: index.namespace(target.namespace) for target in item.status.targets if target.synced}
    closed = sorted(name for name, space in known.items() if space is not None and not annotated.takes(space, item.workspace))
    if not closed:
        return ""
    shown = and_more(closed, _SHOWN)
    return (
        f"AKUA_TARGET_NAMESPACES=annotated, which is the default, would withdraw it from {shown}; first run "
        f"kubectl annotate namespace {closed[0]} {TAKES_ANNOTATION}={item.workspace}"
    )


def _credentials_of(item: Install, index: ResourceIndex, *, seen: bool) -> Check | None:
    """What the proxy would report about its credentials, for when no proxy runs."""
    problems = [each for each in credential_problems(item, index) if seen or each.reason not in _OF_SECRETS]
    if not problems:
        return None
    return bad(f"install {item.workspace}/{item.metadata.name}", f"{problems[0].reason}: {problems[0].detail}")


def _failed(conditions: tuple[Condition, ...], type: str) -> str:
    """The condition's message if it is False; "" otherwise."""
    found = condition_of(conditions, type)
    return f"{found.reason}: {found.message}" if found is not None and found.status == "False" else ""


def _says(conditions: tuple[Condition, ...], type: str) -> str:
    found = condition_of(conditions, type)
    return found.status if found is not None else "Unknown"

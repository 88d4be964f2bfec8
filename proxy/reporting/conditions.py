"""What the conditions of credentials and installs say, from what the gates read and from what pulls met. Pure.

The status in the cluster is all that is remembered: each answer of an upstream is folded into the condition that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from proxy.gates.credential_choice import choose_credential
from registry_access.model.decision import Gate, GateResult, Reason
from registry_access.model.entitlement import entitlement_of
from registry_access.model.names.repository_pattern import RepositoryPattern
from registry_access.model.resources import Condition, Install, RegistryCredential
from registry_access.model.resources.metadata import PULLABLE, READY, VERIFIED, condition_of
from registry_access.model.timestamp import rfc3339
from registry_access.model.workspace_secret import NO_SECRET, UNVERSIONED, ResolvedSecret, SecretProblem, resolve_secret
from registry_access.state.index import ResourceIndex

Unreadable = Callable[[str], str]  # why a workspace's Secrets cannot be read now, "" when they can
MESSAGE_MAXIMUM = 1024  # characters; what an upstream says is bounded before, names are not
_SHOWN = 3
_PROBE = "any"  # stands for the repositories below a prefix that no credential names
# A denial of one repository outlives successes of others for so long; then nobody pulls it any more.
_DENIAL_LASTS = timedelta(minutes=10)
EXPIRY_WARNING = timedelta(days=14)
_REFUSED = {Reason.UPSTREAM_UNAUTHORIZED: "UpstreamUnauthorized", Reason.UPSTREAM_DENIED: "UpstreamDenied"}
DENIED = _REFUSED[Reason.UPSTREAM_DENIED]
OPENED, UNTRIED = "Opened", "NotTriedYet"


def _readable(_workspace: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Met:
    """What a pull of `repository` (registry/repository) met upstream; `refused` is None when it was opened."""

    repository: str
    refused: Reason | None = None
    detail: str = ""

    @property
    def counts(self) -> bool:
        """Whether it says something about the credential: not found, limited or unreachable do not."""
        return self.refused is None or self.refused in _REFUSED


def credential_ready(
    credential: RegistryCredential, index: ResourceIndex, now: datetime, unreadable: Unreadable = _readable
) -> tuple[Condition, str]:
    """Whether the gates would let a pull use it, and the version of its secret ("" when there is none)."""
    resolved = resolve_secret(credential, partial(index.secret, credential.workspace))
    version = resolved.version if isinstance(resolved, ResolvedSecret) else ""
    if problem := index.workspace_problem(credential.workspace):
        reason = "NotAWorkspace"
    elif credential.disabled:
        reason, problem = "Disabled", "every pull that needs it is refused; remove spec.disabled to use it again"
    elif rivals := _rivals(credential, index):
        names = ", ".join(rivals[:_SHOWN])
        reason, problem = "Ambiguous", f"{names} covers the same repositories; give one of them a longer repository prefix"
    elif credential.secret_name and (problem := unreadable(credential.workspace)):
        reason = _camel(Reason.SECRETS_UNREADABLE)
    elif isinstance(resolved, SecretProblem):
        reason, problem = _camel(resolved.reason), resolved.detail
    else:
        reason, told = _expiry(credential, now)
        message = "; ".join(part for part in (_of_secret(credential, resolved), told) if part)
        return _condition(credential, READY, "True", reason, message), version
    return _condition(credential, READY, "False", reason, problem), version


def credential_verified(credential: RegistryCredential, met: Iterable[Met], now: datetime) -> Condition | None:
    """The Verified condition after the answers `met`, oldest first; None when nothing was ever tried."""
    present = condition_of(credential.status.conditions, VERIFIED)
    for answer in met:
        if answer.refused is not None:
            present = _refusal(credential, VERIFIED, answer, present)
        elif present is None or present.status != "True":
            present = _unless_denied(present, answer, now) or _condition(
                credential, VERIFIED, "True", OPENED, f"{credential.registry} opened {answer.repository}"
            )
    return present


def untried(credential: RegistryCredential) -> Condition | None:
    """The Verified condition once the secret is another one; None when nothing was said about the old one."""
    if condition_of(credential.status.conditions, VERIFIED) is None:
        return None
    return _condition(credential, VERIFIED, "Unknown", UNTRIED, "the secret changed; the next pull tries it")


def install_pullable(
    install: Install, index: ResourceIndex, met: Iterable[Met], now: datetime, unreadable: Unreadable = _readable
) -> Condition | None:
    """Whether a credential opens everything that the install is entitled to, as far as is known; None while nothing was wrong.

    What the gates would refuse comes first; else what the upstreams answered last.
    """
    present = condition_of(install.status.conditions, PULLABLE)
    problems = credential_problems(install, index, unreadable)
    if problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        message = "; ".join(dict.fromkeys(problem.detail for problem in problems[:_SHOWN])) + more
        return _condition(install, PULLABLE, "False", _camel(problems[0].reason), message)
    if present is not None and present.reason not in _REFUSED.values():
        present = _condition(install, PULLABLE, "True", OPENED, "")
    for answer in met:
        if answer.refused is not None:
            present = _refusal(install, PULLABLE, answer, present)
        elif present is not None and present.status != "True":
            present = _unless_denied(present, answer, now) or _condition(install, PULLABLE, "True", OPENED, "")
    return present


def _refusal(resource: Install | RegistryCredential, type: str, met: Met, present: Condition | None) -> Condition:
    """The first refusal stays while others of its kind follow: a status is written when something changes."""
    reason = _REFUSED[met.refused or Reason.UPSTREAM_DENIED]
    if present is not None and (present.status, present.reason) == ("False", reason):
        return present
    return _condition(resource, type, "False", reason, f"{met.repository}: {met.detail}")


def _unless_denied(present: Condition | None, opened: Met, now: datetime) -> Condition | None:
    """`present`, when it is a denial of another repository than the one that was opened, and not an old one."""
    if present is None or (present.status, present.reason) != ("False", DENIED):
        return None
    began = present.last_transition_time or now
    return None if present.message.startswith(f"{opened.repository}: ") or now - began > _DENIAL_LASTS else present


def _rivals(credential: RegistryCredential, index: ResourceIndex) -> Sequence[str]:
    """The names of enabled credentials that cover some repository equally."""
    own = set(credential.repositories)
    return [
        other.metadata.name
        for other in index.credentials(credential.workspace, credential.registry)
        if other.metadata.name != credential.metadata.name
        and not other.disabled
        and (own & set(other.repositories) or not (own or other.repositories))
    ]


def credential_problems(install: Install, index: ResourceIndex, unreadable: Unreadable = _readable) -> Sequence[GateResult]:
    """What the credential gate would refuse of what the install is entitled to, a pattern a line."""
    product = index.product(install.workspace, install.product) if install.product else None
    patterns = entitlement_of(install.repositories, product.repositories if product else ()).patterns
    found = (_credential_problem(install.workspace, pattern, index, unreadable) for pattern in patterns)
    return [problem for problem in found if problem is not None]


def _credential_problem(
    workspace: str, pattern: RepositoryPattern, index: ResourceIndex, unreadable: Unreadable
) -> GateResult | None:
    """What the credential gate refuses of a pattern. Of a prefix, whatever of it a credential names, and the rest."""
    credentials = index.credentials(workspace, pattern.registry)
    repositories = [pattern.prefix.path]
    if pattern.prefix.below:
        named = {prefix for credential in credentials for prefix in credential.repositories}
        below = sorted({prefix.path for prefix in named if prefix.path and pattern.prefix.covers(f"{prefix.path}/{_PROBE}")})
        rest = "/".join(part for part in (pattern.prefix.path, _PROBE) if part)
        repositories = [*(f"{path}/{_PROBE}" for path in below), rest]
    problem: GateResult | None = None
    opened = False
    for repository in repositories:
        chosen = choose_credential(credentials, workspace, pattern.registry, repository)
        if isinstance(chosen, RegistryCredential):
            if chosen.secret_name and (why := unreadable(workspace)):
                return GateResult(Gate.CREDENTIAL, Reason.SECRETS_UNREADABLE, why)
            secret = resolve_secret(chosen, partial(index.secret, workspace))
            if isinstance(secret, ResolvedSecret):
                opened = True
                continue
            return GateResult(Gate.CREDENTIAL, secret.reason, secret.detail)
        if chosen.reason is not Reason.CREDENTIAL_MISSING:
            return chosen
        problem = chosen
    if problem is None or opened:
        return None  # a product may name all of a registry of which the workspace uses a part
    detail = f"workspace {workspace} has no RegistryCredential for {pattern}; create one"
    return GateResult(problem.gate, problem.reason, detail)


def _expiry(credential: RegistryCredential, now: datetime) -> tuple[str, str]:
    """The reason of a credential that can be used, and what is to be said of its end."""
    if credential.expires_at is None or credential.expires_at - now > EXPIRY_WARNING:
        return "Usable", ""
    ends = "ended" if credential.expires_at <= now else "ends"
    told = f"it {ends} upstream at {rfc3339(credential.expires_at)}, as spec.expiresAt says: replace its secret and that time"
    return ("Expired" if credential.expires_at <= now else "ExpiresSoon"), told


def _of_secret(credential: RegistryCredential, secret: ResolvedSecret) -> str:
    if secret.version == NO_SECRET:
        return "needs no Secret"
    return f"Secret {credential.secret_name}{'' if secret.version == UNVERSIONED else f', version {secret.version}'}"


def _camel(reason: Reason) -> str:
    return "".join(word.capitalize() for word in reason.split("-"))


def _condition(resource: Install | RegistryCredential, type: str, status: str, reason: str, message: str) -> Condition:
    return Condition(type, status, reason, message[:MESSAGE_MAXIMUM], resource.metadata.generation)

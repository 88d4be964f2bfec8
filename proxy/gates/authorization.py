"""Gates 3 to 6: may this install, now, pull from this repository, and with which credential?

Pure over the index, the staleness and the time it is given; asked for every pull, and again for every stream in flight when
anything changes. docs/request-handling.md is the same list for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from proxy.gates.credential_choice import choose_credential
from registry_access.model.decision import Decision, Gate, GateResult, Reason, passed
from registry_access.model.entitlement import entitlement_of
from registry_access.model.resources import Install, RegistryCredential
from registry_access.model.workspace_secret import ResolvedSecret, SecretProblem, resolve_secret
from registry_access.state.index import ResourceIndex


@dataclass(frozen=True, slots=True)
class InstallIdentity:
    """What a token binds: the install's name, its UID and the token generation."""

    workspace: str
    install: str
    uid: str
    generation: int


@dataclass(frozen=True, slots=True)
class Moment:
    """When and how sure: `staleness` and `limit` in seconds."""

    now: datetime
    staleness: float
    limit: float


@dataclass(frozen=True, slots=True)
class Authorization:
    """The decision, and what to log in with when it is allowed."""

    decision: Decision
    credential: RegistryCredential | None = None
    secret: ResolvedSecret | None = None


def authorize(
    decision: Decision, identity: InstallIdentity, registry: str, repository: str, index: ResourceIndex, moment: Moment
) -> Authorization:
    """`decision` with gates 3 to 6 behind it, up to the first that fails."""
    found = check_install(identity, index, moment.now)
    if isinstance(found, GateResult):
        return Authorization(decision.extended(found))
    entitled = _check_entitlement(found, registry, repository, index)
    decision = decision.extended(passed(Gate.INSTALL, f"install {found.metadata.name}"), entitled)
    if not entitled.passed:
        return Authorization(decision)
    login = _check_credential(identity.workspace, registry, repository, index)
    if isinstance(login, GateResult):
        return Authorization(decision.extended(login))
    credential, secret = login
    decision = decision.extended(_credential_passed(credential, secret), check_freshness(moment))
    return Authorization(decision, credential, secret)


def explain(
    decision: Decision, identity: InstallIdentity, registry: str, repository: str, index: ResourceIndex, moment: Moment
) -> Decision:
    """`decision` with all of gates 3 to 6 behind it, those behind a failed one too: what would be in the way next.

    Entitlement is left out when there is no install of that name to ask about.
    """
    found = check_install(identity, index, moment.now)
    if isinstance(found, GateResult):
        decision, install = decision.extended(found), index.install(identity.workspace, identity.install)
    else:
        decision, install = decision.extended(passed(Gate.INSTALL, f"install {found.metadata.name}")), found
    if install is not None:
        decision = decision.extended(_check_entitlement(install, registry, repository, index))
    login = _check_credential(identity.workspace, registry, repository, index)
    decision = decision.extended(login if isinstance(login, GateResult) else _credential_passed(*login))
    return decision.extended(check_freshness(moment))


def credential_withdrawn(credential: RegistryCredential | None, index: ResourceIndex) -> GateResult | None:
    """Why the credential that a stream logged in with is good no more, though another might cover its repository by now."""
    if credential is None:
        return None
    name = credential.metadata.name
    present = index.credential(credential.workspace, name)
    if present is None or present.deleting or present.metadata.uid != credential.metadata.uid:
        return GateResult(Gate.CREDENTIAL, Reason.CREDENTIAL_MISSING, f"credential {name} was deleted")
    if present.disabled:
        return GateResult(Gate.CREDENTIAL, Reason.CREDENTIAL_DISABLED, f"credential {name} was disabled")
    return None


def check_install(identity: InstallIdentity, index: ResourceIndex, now: datetime) -> Install | GateResult:
    """Gate 3: the install, or why its token is no longer good."""
    name = identity.install
    install = index.install(identity.workspace, name)
    if install is None:
        return _install(Reason.INSTALL_UNKNOWN, f"install {name} does not exist in workspace {identity.workspace}")
    if install.metadata.uid != identity.uid:
        detail = f"the token is of an earlier install {name}, which was deleted; `akua install token {name}` gives one of today's"
        return _install(Reason.INSTALL_REPLACED, detail)
    if install.token_generation != identity.generation:
        return GateResult(
            Gate.INSTALL,
            Reason.TOKEN_SUPERSEDED,
            f"the token is of generation {identity.generation}, install {name} is at {install.token_generation}; "
            f"`akua install token {name}` gives one of these",
        )
    if install.revoked:
        return _install(Reason.INSTALL_REVOKED, f"install {name} is revoked; `akua install restore {name}` restores it")
    if install.expires_at is not None and install.expires_at <= now:
        return _install(
            Reason.INSTALL_EXPIRED, f"install {name} expired at {install.expires_at:%Y-%m-%d %H:%M}Z; set a later spec.expiresAt"
        )
    return install


def check_freshness(moment: Moment) -> GateResult:
    """Gate 6: was what the other gates read proven current?"""
    if moment.staleness <= moment.limit:
        return passed(Gate.FRESHNESS, f"proven {moment.staleness:.1f} s ago")
    age = "never" if moment.staleness == float("inf") else f"{moment.staleness:.0f} s ago"
    return GateResult(
        Gate.FRESHNESS,
        Reason.STATE_STALE,
        f"the state was last proven current {age}, the limit is {moment.limit:g} s; a revocation could be missing",
    )


def _check_entitlement(install: Install, registry: str, repository: str, index: ResourceIndex) -> GateResult:
    product = index.product(install.metadata.namespace, install.product) if install.product else None
    entitlement = entitlement_of(install.repositories, product.repositories if product else ())
    pattern = entitlement.covers(registry, repository)
    if pattern is not None:
        return passed(Gate.ENTITLEMENT, f"covered by {pattern}")
    name = install.metadata.name
    if install.product and product is None:
        detail = f"install {name} is of product {install.product}, which does not exist; create it, or name another"
    else:
        source = f"product {install.product}" if install.product else "its spec.repositories"
        detail = f"install {name} is not entitled to {registry}/{repository}: {source} does not include it"
    return GateResult(Gate.ENTITLEMENT, Reason.NOT_ENTITLED, detail)


def _check_credential(
    workspace: str, registry: str, repository: str, index: ResourceIndex
) -> tuple[RegistryCredential, ResolvedSecret] | GateResult:
    chosen = choose_credential(index.credentials(workspace, registry), workspace, registry, repository)
    if isinstance(chosen, GateResult):
        return chosen
    secret = resolve_secret(chosen, lambda name: index.secret(workspace, name))
    if isinstance(secret, SecretProblem):
        return GateResult(Gate.CREDENTIAL, secret.reason, secret.detail)
    return chosen, secret


def _credential_passed(credential: RegistryCredential, secret: ResolvedSecret) -> GateResult:
    return passed(Gate.CREDENTIAL, f"credential {credential.metadata.name}, secret version {secret.version}")


def _install(reason: Reason, detail: str) -> GateResult:
    return GateResult(Gate.INSTALL, reason, detail)

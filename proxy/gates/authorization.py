"""Gates 3 to 6: may this install, now, pull from this repository, and with which credential?

Pure over the index, the staleness and the time it is given; asked for every pull, and again for every stream in flight when
anything changes. docs/request-handling.md is the same list for people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from proxy.gates.credential_choice import choose_credential
from registry_access.model.decision import Decision, Gate, GateResult, Reason, passed
from registry_access.model.install_identity import InstallIdentity
from registry_access.model.resources import Install, RegistryCredential
from registry_access.model.resources.install import Standing
from registry_access.model.workspace_secret import NO_SECRET, UNVERSIONED, ResolvedSecret, SecretProblem, resolve_secret
from registry_access.state.index import ResourceIndex
from registry_access.state.interface import HeldSecrets


def _current(workspace: str) -> HeldSecrets:
    return HeldSecrets(0.0)


@dataclass(frozen=True, slots=True)
class Moment:
    """When and how sure: `staleness` and `limit` in seconds. `secrets` says the same of a workspace's Secrets."""

    now: datetime
    staleness: float
    limit: float
    secrets: Callable[[str], HeldSecrets] = _current


@dataclass(frozen=True, slots=True)
class Authorization:
    """The decision, and what to log in with when it is allowed."""

    decision: Decision
    credential: RegistryCredential | None = None
    secret: ResolvedSecret | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """What the gates are asked about."""

    identity: InstallIdentity
    registry: str
    repository: str
    index: ResourceIndex
    moment: Moment


@dataclass(slots=True)
class _Found:
    """What one gate finds and a later one needs."""

    install: Install | None = None
    credential: RegistryCredential | None = None
    secret: ResolvedSecret | None = None


def authorize(
    decision: Decision, identity: InstallIdentity, registry: str, repository: str, index: ResourceIndex, moment: Moment
) -> Authorization:
    """`decision` with gates 3 to 6 behind it, up to the first that fails."""
    question, found = _Question(identity, registry, repository, index, moment), _Found()
    # A gate has no answer only where an earlier one failed, and there this ends.
    for result in filter(None, (gate(question, found) for gate in GATES)):
        decision = decision.extended(result)
        if not result.passed:
            break
    return Authorization(decision, found.credential, found.secret)


def explain(
    decision: Decision, identity: InstallIdentity, registry: str, repository: str, index: ResourceIndex, moment: Moment
) -> Decision:
    """`decision` with all of gates 3 to 6 behind it, those behind a failed one too: what would be in the way next.

    Entitlement is left out when no install of that name exists.
    """
    question, found = _Question(identity, registry, repository, index, moment), _Found()
    results = [gate(question, found) for gate in GATES]
    return decision.extended(*(result for result in results if result is not None))


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
        detail = (
            f"the token is of an earlier install {name}, which was deleted; run `akua install token {name}` for a current token"
        )
        return _install(Reason.INSTALL_REPLACED, detail)
    if install.token_generation != identity.generation:
        return GateResult(
            Gate.INSTALL,
            Reason.TOKEN_SUPERSEDED,
            f"the token is of generation {identity.generation}, but install {name} is at {install.token_generation}; "
            f"run `akua install token {name}` for a current token",
        )
    if problem := index.workspace_problem(identity.workspace):
        return _install(Reason.NOT_A_WORKSPACE, problem)
    match install.standing(now):
        case Standing.REVOKED:
            return _install(Reason.INSTALL_REVOKED, f"install {name} is revoked; `akua install restore {name}` restores it")
        case Standing.EXPIRED:
            detail = f"install {name} expired at {install.expires_at:%Y-%m-%d %H:%M}Z; set a later spec.expiresAt"
            return _install(Reason.INSTALL_EXPIRED, detail)
    return install


def _install_gate(question: _Question, found: _Found) -> GateResult:
    answer = check_install(question.identity, question.index, question.moment.now)
    if isinstance(answer, GateResult):
        # One that is refused can still be asked what it is entitled to.
        found.install = question.index.install(question.identity.workspace, question.identity.install)
        return answer
    found.install = answer
    return passed(Gate.INSTALL, f"install {answer.metadata.name}")


def _entitlement_gate(question: _Question, found: _Found) -> GateResult | None:
    install, index = found.install, question.index
    if install is None:
        return None
    pattern = index.entitlement(install).covers(question.registry, question.repository)
    if pattern is not None:
        return passed(Gate.ENTITLEMENT, f"covered by {pattern}")
    name = install.metadata.name
    if install.product and index.product(install.workspace, install.product) is None:
        detail = f"install {name} is of product {install.product}, which does not exist; create it, or name another"
    else:
        source = f"product {install.product}" if install.product else "its spec.repositories"
        detail = f"install {name} is not entitled to {question.registry}/{question.repository}: {source} does not include it"
    return GateResult(Gate.ENTITLEMENT, Reason.NOT_ENTITLED, detail)


def _credential_gate(question: _Question, found: _Found) -> GateResult:
    workspace, index, moment = question.identity.workspace, question.index, question.moment
    candidates = index.credentials(workspace, question.registry)
    chosen = choose_credential(candidates, workspace, question.registry, question.repository)
    if isinstance(chosen, GateResult):
        return chosen
    found.credential = chosen
    secret = resolve_secret(chosen, lambda name: index.secret(workspace, name))
    if isinstance(secret, SecretProblem):
        held = moment.secrets(workspace)
        if held.staleness > moment.limit:
            return _unreadable(Gate.CREDENTIAL, workspace, held)
        if secret.reason is Reason.SECRET_MISSING and held.withheld:
            return GateResult(Gate.CREDENTIAL, secret.reason, f"{secret.detail}; or it is not held: {held.withheld}")
        return GateResult(Gate.CREDENTIAL, secret.reason, secret.detail)
    found.secret = secret
    name = chosen.metadata.name
    if secret.version == NO_SECRET:
        return passed(Gate.CREDENTIAL, f"credential {name}, which needs no secret")
    version = "" if secret.version == UNVERSIONED else f", version {secret.version}"
    return passed(Gate.CREDENTIAL, f"credential {name}, Secret {chosen.secret_name}{version}")


def _freshness_gate(question: _Question, found: _Found) -> GateResult:
    """Was what the other gates read proven current? Of Secrets only those of this workspace count, and only if one is used."""
    moment, workspace = question.moment, question.identity.workspace
    if moment.staleness > moment.limit:
        detail = (
            f"the state was last proven current {_age(moment.staleness)}, the limit is {moment.limit:g} s; "
            "a revocation could be missing"
        )
        return GateResult(Gate.FRESHNESS, Reason.STATE_STALE, detail)
    uses_secret = found.secret is not None and found.credential is not None and found.credential.secret_name is not None
    held = moment.secrets(workspace) if uses_secret else HeldSecrets(0.0)
    if held.staleness > moment.limit:
        return _unreadable(Gate.FRESHNESS, workspace, held)
    return passed(Gate.FRESHNESS, f"proven {max(moment.staleness, held.staleness):.1f} s ago")


# Docs, audit rows and `akua explain` count gates 1 and 2 before these, and 7 and 8 behind them.
GATES: tuple[Callable[[_Question, _Found], GateResult | None], ...] = (
    _install_gate,
    _entitlement_gate,
    _credential_gate,
    _freshness_gate,
)


def _unreadable(gate: Gate, workspace: str, held: HeldSecrets) -> GateResult:
    why = f": {held.problem}" if held.problem else ""
    detail = (
        f"the Secrets of workspace {workspace} cannot be read (last proven current {_age(held.staleness)}){why}; in a cluster "
        "the RoleBinding akua-proxy of that namespace gives access, and is created again when it is deleted"
    )
    return GateResult(gate, Reason.SECRETS_UNREADABLE, detail)


def _age(staleness: float) -> str:
    return "never" if staleness == float("inf") else f"{staleness:.0f} s ago"


def _install(reason: Reason, detail: str) -> GateResult:
    return GateResult(Gate.INSTALL, reason, detail)

"""Which credential opens a repository: the one with the longest prefix that covers it."""

from __future__ import annotations

from collections.abc import Sequence

from registry_access.model.decision import Gate, GateResult, Reason
from registry_access.model.resources import RegistryCredential


def choose_credential(
    credentials: Sequence[RegistryCredential], workspace: str, registry: str, repository: str
) -> RegistryCredential | GateResult:
    """The credential, or the credential gate's refusal. A disabled credential that fits best is not passed over for another."""
    candidates = best_fitting(credentials, repository)
    if not candidates:
        return _refused(
            Reason.CREDENTIAL_MISSING,
            f"workspace {workspace} has no credential for {registry}/{repository}; add one with `akua credential add`",
        )
    enabled = [credential for credential in candidates if not credential.disabled]
    if len(enabled) == 1:
        return enabled[0]
    names = " and ".join(sorted(credential.metadata.name for credential in (enabled or candidates)))
    if enabled:
        return _refused(
            Reason.CREDENTIAL_AMBIGUOUS,
            f"credentials {names} fit {registry}/{repository} equally; give one of them a longer repository prefix",
        )
    first = min(credential.metadata.name for credential in candidates)
    return _refused(Reason.CREDENTIAL_DISABLED, f"credential {names} is disabled; `akua credential enable {first}` restores it")


def best_fitting(credentials: Sequence[RegistryCredential], repository: str) -> Sequence[RegistryCredential]:
    """Those that cover `repository` by the longest prefix, disabled ones included; none when none does."""
    fitting = [(fit, credential) for credential in credentials if (fit := _fit(credential, repository)) is not None]
    best = max((fit for fit, _ in fitting), default=None)
    return [credential for fit, credential in fitting if fit == best]


def _fit(credential: RegistryCredential, repository: str) -> tuple[int, bool] | None:
    """How closely a credential fits; None when it does not cover the repository."""
    if not credential.repositories:
        return -1, False
    return max((prefix.specificity for prefix in credential.repositories if prefix.covers(repository)), default=None)


def _refused(reason: Reason, detail: str) -> GateResult:
    return GateResult(Gate.CREDENTIAL, reason, detail)

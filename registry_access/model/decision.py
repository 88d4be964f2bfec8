"""The answer to "may this token pull this?": an ordered list of gates, each passed or failed with a reason.

The order is docs/request-handling.md's; `akua explain`, the registry error, the audit row and the log line all show this
one value.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Gate(StrEnum):
    """What is checked, in the order in which it is checked."""

    PATH = "path"
    TOKEN = "token"  # noqa: S105 - the gate's name
    INSTALL = "install"
    ENTITLEMENT = "entitlement"
    CREDENTIAL = "credential"
    FRESHNESS = "freshness"
    AUDIT = "audit"
    UPSTREAM = "upstream"


class Reason(StrEnum):
    """Why a gate failed. Stable codes: they are metric labels, audit values and what a script may match."""

    PASSED = "passed"
    PATH_INVALID = "path-invalid"
    TOKEN_MISSING = "token-missing"  # noqa: S105
    TOKEN_INVALID = "token-invalid"  # noqa: S105
    TOKEN_EXPIRED = "token-expired"  # noqa: S105
    TOKEN_SUPERSEDED = "token-superseded"  # noqa: S105
    SCOPE_INSUFFICIENT = "scope-insufficient"
    INSTALL_UNKNOWN = "install-unknown"
    INSTALL_REPLACED = "install-replaced"
    INSTALL_REVOKED = "install-revoked"
    INSTALL_EXPIRED = "install-expired"
    NOT_A_WORKSPACE = "not-a-workspace"
    NOT_ENTITLED = "not-entitled"
    CREDENTIAL_MISSING = "credential-missing"
    CREDENTIAL_DISABLED = "credential-disabled"
    CREDENTIAL_AMBIGUOUS = "credential-ambiguous"
    SECRET_MISSING = "secret-missing"  # noqa: S105
    SECRET_INVALID = "secret-invalid"  # noqa: S105
    SECRETS_UNREADABLE = "secrets-unreadable"
    SECRET_BOUND = "secret-bound-elsewhere"  # noqa: S105
    STATE_STALE = "state-stale"
    RATE_LIMITED = "rate-limited"
    AUDIT_UNAVAILABLE = "audit-unavailable"
    UPSTREAM_UNAUTHORIZED = "upstream-unauthorized"
    UPSTREAM_DENIED = "upstream-denied"
    UPSTREAM_NOT_FOUND = "upstream-not-found"
    UPSTREAM_RATE_LIMITED = "upstream-rate-limited"
    UPSTREAM_REFUSED = "upstream-refused"  # any other 4xx
    UPSTREAM_UNREACHABLE = "upstream-unreachable"
    UPSTREAM_FAILED = "upstream-failed"
    UPSTREAM_TRUNCATED = "upstream-truncated"
    UPSTREAM_CORRUPT = "upstream-corrupt"
    CLIENT_CLOSED = "client-closed"  # no gate's: the client went away before the end


# Which reasons each gate gives; docs/request-handling.md has the same table.
REASONS: Mapping[Gate, tuple[Reason, ...]] = {
    Gate.PATH: (Reason.PATH_INVALID,),
    Gate.TOKEN: (Reason.TOKEN_MISSING, Reason.TOKEN_INVALID, Reason.TOKEN_EXPIRED, Reason.SCOPE_INSUFFICIENT),
    Gate.INSTALL: (
        Reason.TOKEN_SUPERSEDED,
        Reason.INSTALL_UNKNOWN,
        Reason.INSTALL_REPLACED,
        Reason.INSTALL_REVOKED,
        Reason.INSTALL_EXPIRED,
        Reason.NOT_A_WORKSPACE,
    ),
    Gate.ENTITLEMENT: (Reason.NOT_ENTITLED,),
    Gate.CREDENTIAL: (
        Reason.CREDENTIAL_MISSING,
        Reason.CREDENTIAL_DISABLED,
        Reason.CREDENTIAL_AMBIGUOUS,
        Reason.SECRET_MISSING,
        Reason.SECRET_INVALID,
        Reason.SECRET_BOUND,
        Reason.SECRETS_UNREADABLE,
    ),
    Gate.FRESHNESS: (Reason.STATE_STALE, Reason.SECRETS_UNREADABLE),
    Gate.AUDIT: (Reason.RATE_LIMITED, Reason.AUDIT_UNAVAILABLE),
    Gate.UPSTREAM: tuple(reason for reason in Reason if reason.startswith("upstream-")),
}


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's outcome. `detail` is a sentence for a person; it names objects, never secrets."""

    gate: Gate
    reason: Reason
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.reason is Reason.PASSED


@dataclass(frozen=True, slots=True)
class Decision:
    """The gates that were asked, in order; evaluation stops at the first that fails."""

    id: str
    results: tuple[GateResult, ...]

    @property
    def refusal(self) -> GateResult | None:
        """The gate that failed, or None when all that were asked passed."""
        return next((result for result in self.results if not result.passed), None)

    @property
    def allowed(self) -> bool:
        return self.refusal is None

    def extended(self, *results: GateResult) -> Decision:
        """The same decision (same id) with further gates behind."""
        return Decision(self.id, (*self.results, *results))


def new_decision_id() -> str:
    """A decision id: ``dec_`` and 16 hexadecimal digits (64 random bits), short enough to read out on a call."""
    return "dec_" + secrets.token_hex(8)


def passed(gate: Gate, detail: str = "") -> GateResult:
    return GateResult(gate, Reason.PASSED, detail)

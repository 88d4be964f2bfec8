"""The one exception tree.

AkuaError
├── InvalidInput                a person's or a client's input; names the field and the way out
│   ├── InvalidImageReference
│   ├── InvalidDigest
│   ├── InvalidRegistryHost
│   ├── InvalidRepositoryPattern
│   ├── InvalidScope
│   ├── InvalidManifest         a resource manifest; knows its source and line
│   └── InvalidSettings         every problem of a configuration, together
├── InvalidToken                a token that does not verify; carries a stable reason, never the token
├── StateError                  the state store could not do what was asked
│   ├── NotFound
│   ├── AlreadyExists
│   ├── Conflict                the object changed since it was read
│   └── StateUnavailable        the store cannot be reached; try again
├── AuditError
│   └── AuditUnavailable        nothing can be committed, so nothing may be pulled
└── UpstreamError               what an upstream registry, or the way to it, did; see proxy/upstream

An expected refusal ("not entitled", "revoked") is a value (`model.decision`), never an exception.
Adapters translate their library's exceptions with ``raise ... from``.
"""

from __future__ import annotations


class AkuaError(Exception):
    """Root of every error that this project raises on purpose. `str()` is meant for people and contains no secret."""


class InvalidInput(AkuaError):
    """An input that cannot be used.

    `field` is the path of the offending field ("spec.registry", "--host"), `problem` says what is wrong with it,
    `remedy` what to write instead.
    """

    def __init__(self, problem: str, *, field: str = "", remedy: str = "") -> None:
        self.field = field
        self.problem = problem
        self.remedy = remedy
        super().__init__(": ".join(part for part in (field, problem) if part) + (f"; {remedy}" if remedy else ""))


class InvalidImageReference(InvalidInput):
    """Not an image reference by the distribution grammar."""


class InvalidDigest(InvalidInput):
    """Not a digest of a registered algorithm (OCI image-spec, descriptor.md#digests)."""


class InvalidRegistryHost(InvalidInput):
    """Not a registry host[:port]."""


class InvalidRepositoryPattern(InvalidInput):
    """Not a repository pattern such as ``ghcr.io/acme/*``."""


class InvalidScope(InvalidInput):
    """Not a scope of the distribution token specification."""


class InvalidManifest(InvalidInput):
    """A resource manifest that cannot be used. `source` is a file or object name, `line` is 1-based (0: unknown)."""

    def __init__(self, problem: str, *, field: str = "", remedy: str = "", source: str = "", line: int = 0) -> None:
        super().__init__(problem, field=field, remedy=remedy)
        self.source = source
        self.line = line

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}" if self.source and self.line else self.source
        return f"{where}: {super().__str__()}" if where else super().__str__()


class InvalidSettings(InvalidInput):
    """A configuration with one or more problems, all of them in `problems`."""

    def __init__(self, problems: tuple[InvalidInput, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class InvalidToken(AkuaError):
    """A token that does not verify. `reason` is one of a fixed set of short codes, fit for a metric label."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(detail or reason)


class StateError(AkuaError):
    """The state store could not do what was asked."""


class NotFound(StateError):
    """No such object."""


class AlreadyExists(StateError):
    """An object of that kind and name already exists."""


class Conflict(StateError):
    """The object changed since it was read; read it again."""


class StateUnavailable(StateError):
    """The state store cannot be reached; trying again later may help."""


class AuditError(AkuaError):
    """The audit trail could not do what was asked."""


class AuditUnavailable(AuditError):
    """Nothing can be committed to the audit trail, so nothing may be pulled.

    `permanent`: the database takes other records and not this one, so that it is of no use to try it again.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class UpstreamError(AkuaError):
    """What an upstream registry, or the way to it, did. Subclasses live in proxy/upstream/errors.py."""

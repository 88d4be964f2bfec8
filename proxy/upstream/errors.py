"""What upstream registries, and the way to them, do to us.

UpstreamError (registry_access.model.errors)
├── UpstreamUnreachable     no connection: name, address, TLS
│   ├── AddressRefused      our own policy does not let us connect there
│   ├── CertificateRefused  the certificate is not trusted
│   └── CircuitOpen         it could not be reached several times; it is asked again later
├── UpstreamTimeout         no answer in time
├── UpstreamTruncated       the body ended early
├── LoginFailed             the token service or registry did not accept the credential
│   ├── RealmRefused        the registry named a token service that is not this registry's
│   └── LoginUnavailable    the token service is down: this says nothing about the credential
├── RateLimited             429, with its Retry-After
└── UpstreamMisbehaved      an answer that the protocol does not allow
"""

from __future__ import annotations

from registry_access.model.errors import UpstreamError


class UpstreamUnreachable(UpstreamError):
    """No connection could be made to `host` (host[:port] as the URL has it, "" if there is none).

    `registry_down`: that was the registry's own host, and not a token service or its storage. `worth_a_retry`: another try may
    succeed.
    """

    of_registry = registry_down = worth_a_retry = False

    def __init__(self, message: str, host: str = "") -> None:
        super().__init__(message)
        self.host = host


class AddressRefused(UpstreamUnreachable):
    """Our own policy does not allow the connection: a private address, plain HTTP, a port of our own."""


class CertificateRefused(UpstreamUnreachable):
    """The certificate is not for that name, has expired, or no CA that we trust has signed it."""


class CircuitOpen(UpstreamUnreachable):
    """The registry could not be reached several times in a row. `retry_after` is in seconds, as the header has it."""

    def __init__(self, message: str, retry_after: str) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamTimeout(UpstreamError):
    """No answer of `host` within the deadline; `connecting`: not even a connection.

    `of_registry`: that was the registry's own host. `registry_down`: both.
    """

    of_registry = registry_down = worth_a_retry = False

    def __init__(self, message: str, host: str = "", *, connecting: bool = False) -> None:
        super().__init__(message)
        self.host = host
        self.connecting = connecting


class UpstreamTruncated(UpstreamError):
    """The body ended before its announced length."""


class LoginFailed(UpstreamError):
    """The credential was not accepted. `status` is the HTTP status that said so, 0 if none did."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class RealmRefused(LoginFailed):
    """The challenge names a token service that does not belong to the registry (CVE-2020-15157)."""


class LoginUnavailable(LoginFailed):
    """The token service answered 5xx. `retry_after` is the header's value, "" if there was none."""

    def __init__(self, message: str, status: int = 0, retry_after: str = "") -> None:
        super().__init__(message, status)
        self.retry_after = retry_after


class RateLimited(UpstreamError):
    """Too many requests. `retry_after` is the header's value, "" if there was none."""

    def __init__(self, message: str, retry_after: str = "") -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamMisbehaved(UpstreamError):
    """An answer that the protocol does not allow."""

"""What upstream registries, and the way to them, do to us.

UpstreamError (registry_access.model.errors)
├── UpstreamUnreachable     no connection: name, address, TLS, or the circuit is open
│   └── AddressRefused      the name leads to an address that is not allowed
├── UpstreamTimeout         connected, and then silence
├── UpstreamTruncated       the body ended early
├── LoginFailed             the token service or registry did not accept the credential
│   └── RealmRefused        the registry named a token service that is not this registry's
├── RateLimited             429, with its Retry-After
└── UpstreamMisbehaved      an answer that the protocol does not allow
"""

from __future__ import annotations

from registry_access.model.errors import UpstreamError


class UpstreamUnreachable(UpstreamError):
    """No connection could be made."""


class AddressRefused(UpstreamUnreachable):
    """The name resolves to an address that is not allowed (loopback, private, link-local, metadata)."""


class UpstreamTimeout(UpstreamError):
    """Connected, and no answer within the deadline."""


class UpstreamTruncated(UpstreamError):
    """The body ended before its announced length."""


class LoginFailed(UpstreamError):
    """The credential was not accepted. `status` is the HTTP status that said so, 0 if none did."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class RealmRefused(LoginFailed):
    """The challenge names a token service that does not belong to the registry (CVE-2020-15157)."""


class RateLimited(UpstreamError):
    """Too many requests. `retry_after` is the header's value, "" if there was none."""

    def __init__(self, message: str, retry_after: str = "") -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamMisbehaved(UpstreamError):
    """An answer that the protocol does not allow."""

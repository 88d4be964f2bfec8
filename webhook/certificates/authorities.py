"""The CAs of a cluster's certificates: side by side while one follows another. Pure: time comes in, nothing is written.

A new CA is trusted everywhere before it signs anything, and an old one stays trusted until nothing that it signed is served:
so a client that trusts the bundle trusts every certificate that is served, at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise

from cryptography import x509

from registry_access.model.certificate_names import CA_SECRET
from registry_access.model.errors import InvalidInput
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.runtime.tls.certificate_authority import CertificateAuthority, KeyPair, belong_together, has_issued

CA_DAYS = 3650
AUTHORITY_NAME = "Akua registry access CA"
_TIMES = "times.json"
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class RotationTimes:
    """Seconds. `planned_ahead`, `requested_ahead`: how long a CA that follows an old one, or that somebody asked for, is
    trusted before it signs. `grace`: how long an old CA stays trusted when nothing that it signed is served any more.
    `renew`: how long before its end a CA gets a successor.
    """

    planned_ahead: float = 30 * _DAY  # people who carry the bundle to other clusters have a month
    requested_ahead: float = 900.0  # our own parts have it within a minute
    grace: float = 3600.0
    renew: float = 365 * _DAY


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that signs from the epoch second `signs_from` on; one without a key is only trusted still."""

    certificate: bytes
    key: bytes | None = field(repr=False)
    signs_from: int

    @property
    def name(self) -> str:
        return hashlib.sha256(self.certificate).hexdigest()[:16]

    @property
    def expiry(self) -> float:
        """Epoch seconds."""
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc.timestamp()

    def is_ahead(self, now: float, times: RotationTimes) -> bool:
        """Whether nobody believes it for long yet: it was made while a clock was wrong."""
        begins = x509.load_pem_x509_certificate(self.certificate).not_valid_before_utc.timestamp()
        return begins > now + times.grace

    @classmethod
    def new(cls, now: float, signs_from: float) -> Authority:
        made = CertificateAuthority.new(AUTHORITY_NAME, CA_DAYS, datetime.fromtimestamp(now, UTC)).pair
        return cls(made.certificate, made.key, int(signs_from))


@dataclass(frozen=True, slots=True)
class Authorities:
    """At least one CA, in the order in which they sign."""

    members: tuple[Authority, ...]

    @classmethod
    def first(cls, now: float, times: RotationTimes, trusted: Iterable[bytes] = ()) -> Authorities:
        """A new CA. `trusted`: CA certificates whose keys are lost and whose certificates are served; it follows them."""
        old = tuple(Authority(certificate, None, 0) for certificate in sorted(set(trusted)))
        return cls((*old, Authority.new(now, now + times.requested_ahead if old else 0)))

    def current(self, now: float) -> Authority:
        """The one whose certificates are to be served at `now`."""
        ready = [member for member in self.members if member.signs_from <= now]
        return ready[-1] if ready else self.members[0]

    def signer(self, now: float) -> CertificateAuthority:
        """The one to sign with at `now`: the current one, or the first after it whose key we have."""
        current = self.members.index(self.current(now))
        chosen = next(member for member in self.members[current:] if member.key is not None)
        return CertificateAuthority(KeyPair(chosen.certificate, chosen.key or b""))

    def bundle(self) -> bytes:
        """What clients must trust, PEM."""
        return b"".join(member.certificate.strip() + b"\n" for member in self.members)

    def issuers(self, certificates: Iterable[bytes]) -> frozenset[str]:
        """The names of the CAs that signed any of these certificates (PEM)."""
        served = tuple(certificates)
        return frozenset(member.name for member in self.members if any(has_issued(member.certificate, each) for each in served))

    def after(self, now: float, times: RotationTimes, served: Iterable[bytes], *, requested: bool = False) -> Authorities:
        """What becomes of them at `now`, while the certificates `served` are in use; the same when nothing does."""
        known = self._without_ahead(now, times)
        newest = known.members[-1]
        left = newest.expiry - now
        changed = known
        if requested and newest.signs_from > now:
            changed = known.with_newest(replace(newest, signs_from=min(newest.signs_from, int(now + times.requested_ahead))))
        elif requested:
            changed = known.followed(now, times.requested_ahead if left > times.requested_ahead else 0)
        elif left < times.renew:
            unhurried = left > times.planned_ahead * 2
            changed = known.followed(now, times.planned_ahead if unhurried else min(times.requested_ahead, max(left, 0)))
        return changed.without_old(now, times, changed.issuers(served))

    def followed(self, now: float, ahead: float) -> Authorities:
        return Authorities((*self.members, Authority.new(now, now + ahead)))

    def _without_ahead(self, now: float, times: RotationTimes) -> Authorities:
        """A CA that is to sign and is not valid for long yet is followed at once: what it signs, nobody believes.

        It stays trusted as any old one does: should it be our clock that is wrong, others' is right.
        """
        if not any(member.key is not None and member.is_ahead(now, times) for member in self.members):
            return self
        members = [
            replace(member, key=None, signs_from=int(now)) if member.is_ahead(now, times) else member for member in self.members
        ]
        ordered = sorted(members, key=lambda member: member.signs_from)
        return Authorities((*ordered, Authority.new(now, now)))

    def with_newest(self, newest: Authority) -> Authorities:
        return Authorities((*self.members[:-1], newest))

    def without_old(self, now: float, times: RotationTimes, in_use: frozenset[str]) -> Authorities:
        kept = []
        for member, successor in pairwise(self.members):
            followed = successor.signs_from <= now
            if followed and member.name not in in_use and successor.signs_from + times.grace <= now:
                continue
            # What will not sign again needs no key, and nobody can steal what is not there.
            kept.append(replace(member, key=None) if followed else member)
        return Authorities((*kept, self.members[-1]))

    @classmethod
    def from_data(cls, data: Mapping[str, bytes]) -> Authorities:
        """Out of the Secret. Raises InvalidInput, which quotes nothing of it."""
        try:
            moments = {str(name): int(moment) for name, moment in json.loads(data[_TIMES]).items()}
            members = [Authority(data[f"{name}.crt"], data.get(f"{name}.key"), moment) for name, moment in moments.items()]
            good = all(member.name in moments and _is_whole(member) for member in members)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise _spoilt() from error
        ordered = tuple(sorted(members, key=lambda member: (member.signs_from, member.key is not None)))
        if not good or not ordered or ordered[-1].key is None:
            raise _spoilt()
        return cls(ordered)

    def to_data(self) -> dict[str, bytes]:
        data = {f"{member.name}.crt": member.certificate for member in self.members}
        data |= {f"{member.name}.key": member.key for member in self.members if member.key is not None}
        data[_TIMES] = json.dumps({member.name: member.signs_from for member in self.members}, sort_keys=True).encode()
        return data


def _spoilt() -> InvalidInput:
    """Never repaired automatically: what it held may be trusted in places that we do not know."""
    return InvalidInput(
        "does not hold CAs; certificates are not renewed",
        field=f"Secret {SYSTEM_NAMESPACE}/{CA_SECRET}",
        remedy="restore it, or delete it: a new CA is made, and the old one stays trusted until its certificates are replaced",
    )


def _is_whole(member: Authority) -> bool:
    """Whether it is a certificate and, if there is a key, the certificate's. Raises ValueError."""
    x509.load_pem_x509_certificate(member.certificate)
    return member.key is None or belong_together(KeyPair(member.certificate, member.key))

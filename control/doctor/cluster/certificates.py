"""Expiry of certificates: the published CAs and the serving certificates."""

from __future__ import annotations

import asyncio
import base64
import binascii
from datetime import datetime

from cryptography import x509

from control.doctor.cluster.installation import Installation
from control.doctor.cluster.view import ClusterView, Lookup, raw_kind
from control.doctor.finding import Check, bad, expiry, unseen, warning
from registry_access.model.certificate_names import CA_CONFIG_MAP, CERTIFICATE_ENTRY, PROXY_CERTIFICATE, WEBHOOK_CERTIFICATE
from registry_access.model.resources import Kind
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE

_RENEWAL = "its renewal is overdue; check the log of akua-webhook's leader or of the external issuer"


async def certificate_checks(view: ClusterView, installation: Installation, now: datetime) -> list[Check]:
    """One line per CA and one per serving Secret. Reads only `tls.crt` of a Secret."""
    names = [WEBHOOK_CERTIFICATE] if installation.plain_http else [WEBHOOK_CERTIFICATE, PROXY_CERTIFICATE]
    looks = await asyncio.gather(*(view.look_up(raw_kind(Kind.SECRET), SYSTEM_NAMESPACE, name) for name in names))
    served = [_served(name, look, now) for name, look in zip(names, looks, strict=True)]
    return [*_authorities(installation, now), *served]


def _authorities(installation: Installation, now: datetime) -> list[Check]:
    check = f"certificate {CA_CONFIG_MAP}"
    if not installation.ca.seen:
        return [unseen(check, installation.ca.problem)]
    try:
        found = x509.load_pem_x509_certificates(installation.bundle.encode())
    except ValueError:
        found = []
    if not found:
        problem = f"ConfigMap {CA_CONFIG_MAP} with a certificate does not exist"
        return [warning(check, f"{problem}, so neither nodes nor people know which CA to trust")]
    return [expiry(check, item.subject.rfc4514_string(), item.not_valid_after_utc, now, _RENEWAL) for item in found]


def _served(name: str, look: Lookup, now: datetime) -> Check:
    check = f"certificate {name}"
    if not look.seen:
        return unseen(check, look.problem)
    if look.object is None:
        problem = f"Secret {name} does not exist in {SYSTEM_NAMESPACE}, so the process cannot serve"
        return bad(check, f"{problem}; the leader of akua-webhook creates it, or the external issuer does")
    try:
        pem = base64.b64decode(str(look.at("data", CERTIFICATE_ENTRY) or ""), validate=True)
        end = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except (ValueError, binascii.Error):
        return bad(
            check,
            f"{CERTIFICATE_ENTRY} of Secret {name} is not a PEM certificate; delete it to get a new one, or fix its issuer",
        )
    return expiry(check, f"Secret {name}", end, now, _RENEWAL)

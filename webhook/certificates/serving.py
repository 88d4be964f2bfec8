"""Serving certificates: for which names, and when there must be a new one. Pure: time comes in, nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from registry_access.model.certificate_names import CA_ENTRY, CERTIFICATE_ENTRY, KEY_ENTRY
from registry_access.model.resources import Secret
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.runtime.tls.certificate_authority import KeyPair, belong_together, certificates_in, is_good
from webhook.certificates.authorities import AUTHORITY_NAME, Authorities

PROXY_SERVICE, WEBHOOK_SERVICE = "akua-proxy", "akua-webhook"


def webhook_hosts() -> Sequence[str]:
    """As the API server calls it, and loopback, for a look from inside the pod."""
    return (*_service_names(WEBHOOK_SERVICE), "localhost", "127.0.0.1")


def proxy_hosts(host: str, external_url: str, service: Mapping[str, Any] | None) -> Sequence[str]:
    """The name that images carry, the URL that clients use, the Service's names and its addresses while there is one."""
    external = urlsplit(external_url).hostname if external_url else None
    named = [urlsplit(f"//{host}").hostname or host, external, *_service_names(PROXY_SERVICE)]
    spec = (service or {}).get("spec") or {}
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return tuple(dict.fromkeys(name for name in (*named, *addresses) if name and name != "None"))


def entries_to_write(
    secret: Secret | None, authorities: Authorities, hosts: Sequence[str], now: float, *, requested: bool
) -> Mapping[str, bytes]:
    """What must change in a serving Secret; nothing while its certificate is good for 30 days more and nobody wants another."""
    moment, bundle = datetime.fromtimestamp(now, UTC), authorities.bundle()
    data = secret.data if secret else {}
    present = KeyPair(data.get(CERTIFICATE_ENTRY, b""), data.get(KEY_ENTRY, b""))
    signer = authorities.signer(now)
    # One by the signer is good too, where the key of the current CA is lost: else it would be made again and again.
    issuers = (authorities.current(now).certificate, signer.pair.certificate)
    if not requested and any(is_good(present, issuer, hosts, moment) for issuer in issuers):
        return {} if data.get(CA_ENTRY) == bundle else {CA_ENTRY: bundle}
    fresh = signer.issue(hosts, now=moment)
    return {CERTIFICATE_ENTRY: fresh.certificate, KEY_ENTRY: fresh.key, CA_ENTRY: bundle}


def is_somebody_elses(secret: Secret) -> bool:
    """Whether a serving Secret holds a usable certificate that none of our CAs issued, whatever its labels say.

    That is how a person replaces one of ours in place: `kubectl apply` and `kubectl patch` leave labels alone.
    """
    pair = KeyPair(secret.data.get(CERTIFICATE_ENTRY, b""), secret.data.get(KEY_ENTRY, b""))
    return belong_together(pair) and not _is_our_authority(x509.load_pem_x509_certificate(pair.certificate).issuer)


def has_only_our_authorities(bundle: bytes) -> bool:
    """Whether a bundle (PEM) names no CA but ours; an empty one names none at all."""
    subjects = [x509.load_pem_x509_certificate(each).subject for each in certificates_in(bundle)]
    return all(_is_our_authority(subject) for subject in subjects)


def _is_our_authority(name: x509.Name) -> bool:
    return [item.value for item in name.get_attributes_for_oid(NameOID.COMMON_NAME)] == [AUTHORITY_NAME]


def _service_names(service: str) -> Sequence[str]:
    name = f"{service}.{SYSTEM_NAMESPACE}.svc"
    return name, f"{name}.cluster.local"

"""The webhook's registration: does the API server call it and trust its certificate?"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from control.doctor.cluster.installation import WEBHOOK, Installation
from control.doctor.finding import Check, bad, good, unseen, warning
from registry_access.model.certificate_names import CA_CONFIG_MAP
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE

_LEADER = "the leader of akua-webhook writes it when AKUA_CERTIFICATES is managed, cert-manager's injector when external"


def registration_checks(installation: Installation) -> list[Check]:
    """One line per webhook of the MutatingWebhookConfiguration."""
    look = installation.registration
    if not look.seen:
        return [unseen("registration", look.problem)]
    if look.object is None:
        problem = f"MutatingWebhookConfiguration {WEBHOOK} does not exist, so no pod is rewritten"
        return [bad("registration", f"{problem}; run `kubectl apply -k` with the overlay again")]
    webhooks = look.at("webhooks") or ()
    if not webhooks:
        return [bad("registration", f"{WEBHOOK} lists no webhook; run `kubectl apply -k` with the overlay again")]
    return [_webhook(webhook, installation) for webhook in webhooks]


def _webhook(webhook: Mapping[str, Any], installation: Installation) -> Check:
    check, client = f"registration {webhook.get('name', '')}", webhook.get("clientConfig") or {}
    service = client.get("service") or {}
    if (service.get("namespace"), service.get("name")) != (SYSTEM_NAMESPACE, WEBHOOK):
        leads = client.get("url") or f"{service.get('namespace')}/{service.get('name')}"
        return warning(check, f"points to {leads}, not to the Service {WEBHOOK} in {SYSTEM_NAMESPACE}")
    policy = f"failurePolicy {webhook.get('failurePolicy', 'Fail')}"
    try:
        trusted = fingerprints(base64.b64decode(client.get("caBundle") or "", validate=True).decode())
    except (binascii.Error, UnicodeDecodeError):
        trusted = frozenset()
    if not trusted:
        return bad(check, f"has no caBundle, so the API server does not trust the webhook's certificate; {_LEADER}")
    if not installation.ca.seen:
        return unseen(check, installation.ca.problem, f"{policy}; the caBundle cannot be compared")
    wanted = fingerprints(installation.bundle)
    if not wanted:
        return warning(check, f"{policy}; the caBundle cannot be compared: ConfigMap {CA_CONFIG_MAP} has no certificate")
    if not trusted & wanted:
        return bad(check, f"its caBundle is not the CA in ConfigMap {CA_CONFIG_MAP}, so calls fail; {_LEADER}")
    if trusted != wanted:
        return warning(
            check, f"{policy}; its caBundle and ConfigMap {CA_CONFIG_MAP} differ but share a CA; a rotation may be in progress"
        )
    return good(check, f"{policy}, caBundle as in ConfigMap {CA_CONFIG_MAP}")


def fingerprints(bundle: str) -> frozenset[bytes]:
    """The fingerprints of the certificates in a PEM bundle; empty if it cannot be read."""
    try:
        return frozenset(item.fingerprint(hashes.SHA256()) for item in x509.load_pem_x509_certificates(bundle.encode()))
    except ValueError:
        return frozenset()

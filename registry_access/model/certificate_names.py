"""What certificates in a cluster are called, all in our own namespace; cert-manager's shapes, so that either may write them."""

from __future__ import annotations

CA_SECRET = "akua-ca"  # noqa: S105 - the Secret's name: CA keys, for the certificates' keeper alone
CA_CONFIG_MAP = "akua-ca"  # what clients must trust, for everybody; during a rotation both CAs
CA_ENTRY = "ca.crt"
WEBHOOK_CERTIFICATE = "akua-webhook-tls"
PROXY_CERTIFICATE = "akua-proxy-tls"
CERTIFICATE_ENTRY, KEY_ENTRY = "tls.crt", "tls.key"

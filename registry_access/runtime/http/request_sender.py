"""Who sent a request, as far as the connection and its headers prove it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Sender(NamedTuple):
    """`names` are the common name and DNS names of a verified client certificate, None without one."""

    authorization: bytes = b""
    names: frozenset[str] | None = None


UNKNOWN_SENDER = Sender()


def certified_names(certificate: Mapping[str, Any] | None) -> frozenset[str] | None:
    """The names in what `ssl.SSLObject.getpeercert` gives: nothing, or an empty mapping, for a client that presented none."""
    if not certificate:
        return None
    subject = {value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"}
    return frozenset(subject | {value for name, value in certificate.get("subjectAltName", ()) if name == "DNS"})

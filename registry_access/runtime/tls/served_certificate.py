"""The certificate that a TLS listener presents, replaced while the listener runs.

OpenSSL keeps one certificate for each type of key in a context: loading an RSA certificate into a context that has an ECDSA one
adds it, and clients that accept both go on getting the ECDSA one. So every load makes a context of its own, and the listener's
context, which asyncio keeps for as long as the socket is open, hands each handshake to the newest (SSL_set_SSL_CTX in the
servername callback, which OpenSSL also calls for clients that send no server name).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import Certificate, load_pem_x509_certificate

Stamp = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. With `client_ca`, a certificate that a client presents must be from it; a client may present none."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class ServedCertificate:
    """Give `listening` to the listener; `refresh` takes up files that changed."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises OSError, ssl.SSLError and ValueError when the files cannot be used."""
        self._files = files
        self._stamp, self._current, self._presented = _load(files)
        self.listening = _context(files)
        self.listening.sni_callback = self._present

    def refresh(self) -> bool:
        """Whether the files changed and are served now. Raises as the constructor does; the old certificate is served then."""
        if _stamp(self._files) == self._stamp:
            return False
        self._stamp, self._current, self._presented = _load(self._files)
        return True

    @property
    def expiry(self) -> datetime:
        return self._presented.not_valid_after_utc

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hexadecimal."""
        return self._presented.fingerprint(SHA256()).hex()

    def _present(self, connection: ssl.SSLObject, _name: str | None, _listening: ssl.SSLContext) -> None:
        connection.context = self._current


def _load(files: TlsFiles) -> tuple[Stamp, ssl.SSLContext, Certificate]:
    stamp = _stamp(files)
    presented = load_pem_x509_certificate(files.certificate.read_bytes())
    return stamp, _context(files), presented


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    if files.client_ca:
        context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _stamp(files: TlsFiles) -> Stamp:
    """Differs for every new content of a file, even when two came within one tick of the file system's clock."""
    found = [file.stat() for file in (files.certificate, files.key, files.client_ca) if file is not None]
    return tuple((each.st_ino, each.st_mtime_ns) for each in found)

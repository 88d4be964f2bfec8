"""Certificates for a machine that has none: created in a folder on first start, renewed before they expire."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry_access.model.errors import InvalidInput
from registry_access.runtime.atomic_write import write_atomically
from registry_access.runtime.tls.certificate_authority import CertificateAuthority, KeyPair
from registry_access.runtime.tls.served_certificate import TlsFiles

WEBHOOK_NAMES = ("localhost", "127.0.0.1", "akua-webhook.akua-system.svc")
_CA_DAYS = 3650


@dataclass(frozen=True, slots=True)
class LocalAuthority:
    """A CA whose key lies in `folder` (mode 0600). Clients are given `certificate`."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"

    def issue(self, name: str, hosts: Sequence[str]) -> TlsFiles:
        """Certificate and key `name` for `hosts`; existing ones are kept until they are about to expire.

        Raises InvalidInput if the folder cannot be used.
        """
        files = self._files(name)
        try:
            authority = self._authority()
            present = _read(files.certificate, files.key)
            if present is None or not authority.vouches(present, hosts, datetime.datetime.now(datetime.UTC)):
                self.write(name, authority.issue(hosts))
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"cannot be used: {getattr(error, 'strerror', None) or error}",
                field=str(self.folder),
                remedy="name certificate files in the settings, or choose another --folder",
            ) from error
        return files

    def write(self, name: str, pair: KeyPair) -> TlsFiles:
        """Puts a certificate and its key where a server reads them. Raises OSError."""
        files = self._files(name)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(files.key, pair.key, mode=0o600)
        write_atomically(files.certificate, pair.certificate, mode=0o600)
        return files

    def _files(self, name: str) -> TlsFiles:
        return TlsFiles(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def _authority(self) -> CertificateAuthority:
        present = _read(self.certificate, self.folder / "ca.key")
        if present is not None:
            return CertificateAuthority(present)
        made = CertificateAuthority.new("Akua local CA", _CA_DAYS)
        self.write("ca", made.pair)
        return made


def _read(certificate: Path, key: Path) -> KeyPair | None:
    try:
        return KeyPair(certificate.read_bytes(), key.read_bytes())
    except FileNotFoundError:
        return None

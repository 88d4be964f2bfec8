"""A local CA and serving certificates of its own, for a machine without any: made on first start, renewed before they expire."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from registry_access.model.errors import InvalidInput
from registry_access.runtime.serving import TlsFiles

WEBHOOK_NAMES = ("localhost", "127.0.0.1", "akua-webhook.akua-system.svc")
_CA_DAYS, _SERVING_DAYS, _RENEW_DAYS = 3650, 90, 30


@dataclass(frozen=True, slots=True)
class LocalAuthority:
    """A CA whose key lies in `folder` (mode 0600). Clients are given `certificate`."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"

    def issue(self, name: str, hosts: Sequence[str]) -> TlsFiles:
        """Certificate and key `name` for `hosts`; those that are there are kept until they are about to expire.

        Raises InvalidInput when the folder cannot be used.
        """
        files = TlsFiles(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            ca, ca_key = self._authority()
            if not _good(files.certificate, ca, hosts) or not files.key.exists():
                key = ec.generate_private_key(ec.SECP256R1())
                certificate = _serving_certificate(key, ca, ca_key, hosts)
                _write(files.key, _pem(key))
                _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        except OSError as error:
            raise InvalidInput(
                f"cannot be used: {error.strerror}",
                field=str(self.folder),
                remedy="give certificates by settings, or another --folder",
            ) from error
        return files

    def _authority(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key_file = self.folder / "ca.key"
        if self.certificate.exists() and key_file.exists():
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            if isinstance(key, ec.EllipticCurvePrivateKey):
                return x509.load_pem_x509_certificate(self.certificate.read_bytes()), key
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Akua local CA")])
        certificate = (
            _builder(name, name, key, _CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(key_file, _pem(key))
        _write(self.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return certificate, key


def _serving_certificate(
    key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, hosts: Sequence[str]
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    return (
        _builder(name, ca.subject, key, _SERVING_DAYS)
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=10))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _good(file: Path, ca: x509.Certificate, hosts: Sequence[str]) -> bool:
    """Whether the certificate is this CA's, for these hosts, and good for a while."""
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        certificate.verify_directly_issued_by(ca)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # whatever is wrong with it, a new one mends
        return False
    remaining = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return remaining.days >= _RENEW_DAYS and set(names) == {_alternative(host) for host in hosts}


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: a server that is running may be about to read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch(0o600)
    temporary.write_bytes(content)
    temporary.replace(path)

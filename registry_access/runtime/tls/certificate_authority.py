"""A CA of our own and the serving certificates that it signs, as PEM. Writes nothing anywhere."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVING_DAYS, RENEW_DAYS = 90, 30
_PEM = serialization.Encoding.PEM
_BACKDATED = datetime.timedelta(minutes=10)  # clocks differ


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Signs serving certificates. Its own certificate may sign nothing but those (path length 0)."""

    pair: KeyPair

    @classmethod
    def new(cls, name: str, days: int, now: datetime.datetime | None = None) -> CertificateAuthority:
        key = ec.generate_private_key(ec.SECP256R1())
        # Two CAs of one name, side by side during a rotation, are told apart by their key identifiers.
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, subject, key, days, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(KeyPair(certificate.public_bytes(_PEM), _pem(key)))

    def issue(self, hosts: Sequence[str], days: int = SERVING_DAYS, now: datetime.datetime | None = None) -> KeyPair:
        """A serving certificate for names and IP addresses. Raises ValueError when the CA's own PEM is no certificate and key."""
        certificate, signer = self._loaded()
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
        signed = (
            _builder(name, certificate.subject, key, days, now)
            .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, hashes.SHA256())
        )
        return KeyPair(signed.public_bytes(_PEM), _pem(key))

    def vouches(self, pair: KeyPair, hosts: Iterable[str], now: datetime.datetime) -> bool:
        """Whether a serving certificate is this CA's, belongs to its key, is for just these hosts, and good for 30 days more."""
        return is_good(pair, self.pair.certificate, hosts, now)

    @property
    def expiry(self) -> datetime.datetime:
        """Raises ValueError."""
        return x509.load_pem_x509_certificate(self.pair.certificate).not_valid_after_utc

    def _loaded(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = serialization.load_pem_private_key(self.pair.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the CA's key is no elliptic-curve key")
        return x509.load_pem_x509_certificate(self.pair.certificate), key


def is_good(pair: KeyPair, issuer: bytes, hosts: Iterable[str], now: datetime.datetime) -> bool:
    """Whether a serving certificate is from the CA certificate `issuer` (PEM), belongs to its key, is for just these hosts, good
    now (one from the time of a clock that was wrong is not), and for 30 days more.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False  # replace it whatever is wrong with it
    return (
        certificate.not_valid_before_utc <= now
        and certificate.not_valid_after_utc - now >= datetime.timedelta(days=RENEW_DAYS)
        and has_issued(issuer, pair.certificate)
        and belong_together(pair)
        and set(names) == {_alternative(host) for host in hosts}
    )


def has_issued(issuer: bytes, certificate: bytes) -> bool:
    """Whether the CA certificate `issuer` signed `certificate`, both PEM."""
    try:
        x509.load_pem_x509_certificate(certificate).verify_directly_issued_by(x509.load_pem_x509_certificate(issuer))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def belong_together(pair: KeyPair) -> bool:
    """Whether the pair is a certificate (or a chain, its own first) and that certificate's private key."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        return certificate.public_key() == serialization.load_pem_private_key(pair.key, None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def certificates_in(pem: bytes) -> list[bytes]:
    """Each certificate of a bundle, PEM with a line's end; none when there is no bundle."""
    try:
        return [each.public_bytes(_PEM) for each in x509.load_pem_x509_certificates(pem)]
    except ValueError:
        return []


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, now: datetime.datetime | None
) -> x509.CertificateBuilder:
    now = now or datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
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


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

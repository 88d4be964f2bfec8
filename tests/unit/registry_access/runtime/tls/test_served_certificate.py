"""What a handshake gets after each load, whatever the types of the keys; no sockets, both sides in memory."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from registry_access.runtime.tls.served_certificate import ServedCertificate, TlsFiles

KEYS: dict[str, Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]] = {
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


def write(folder: Path, name: str, kind: str) -> TlsFiles:
    """A self-signed certificate called `name`, in the place of the one before."""
    key = KEYS[kind]()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for entry, content in (("tls.crt", certificate), ("tls.key", private)):
        (folder / f".{entry}").write_bytes(content)
        (folder / f".{entry}").replace(folder / entry)
    return TlsFiles(folder / "tls.crt", folder / "tls.key")


def presented(served: ServedCertificate, name: str | None, version: ssl.TLSVersion) -> str:
    """The common name of what a client gets that names `name`, or nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=name)
    server = served.listening.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    der = client.getpeercert(binary_form=True)
    assert der is not None
    found = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["oci.akua.dev", None])
@pytest.mark.parametrize(("first", "second"), [("ecdsa", "rsa"), ("rsa", "ecdsa"), ("ecdsa", "ecdsa-384"), ("rsa", "rsa")])
def test_the_newest_certificate_is_the_only_one(
    tmp_path: Path, first: str, second: str, name: str | None, version: ssl.TLSVersion
) -> None:
    served = ServedCertificate(write(tmp_path, "first", first))
    assert presented(served, name, version) == "first"
    assert not served.refresh()
    write(tmp_path, "second", second)
    assert served.refresh()
    assert presented(served, name, version) == "second"
    write(tmp_path, "third", first)
    assert served.refresh()
    assert presented(served, name, version) == "third"


def test_files_that_cannot_be_used_leave_the_old_one(tmp_path: Path) -> None:
    served = ServedCertificate(write(tmp_path, "first", "rsa"))
    expiry = served.expiry
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", "second", "rsa")
    (tmp_path / "other" / "tls.crt").replace(tmp_path / "tls.crt")
    with pytest.raises((OSError, ssl.SSLError, ValueError)):
        served.refresh()
    assert (presented(served, None, ssl.TLSVersion.TLSv1_3), served.expiry) == ("first", expiry)
    (tmp_path / "other" / "tls.key").replace(tmp_path / "tls.key")
    assert served.refresh()
    assert presented(served, None, ssl.TLSVersion.TLSv1_3) == "second"

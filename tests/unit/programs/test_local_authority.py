"""Certificates of our own making: good for TLS clients, kept while they are good, renewed before they expire."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from programs import local_authority
from programs.local_authority import LocalAuthority
from registry_access.model.errors import InvalidInput
from registry_access.runtime.tls.certificate_authority import CertificateAuthority, KeyPair
from registry_access.runtime.tls.served_certificate import TlsFiles


def handshake(files: TlsFiles, ca: Path, name: str) -> None:
    """Client and server, joined in memory. Raises ssl.SSLError."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files.certificate, files.key)
    client_context = ssl.create_default_context(cafile=str(ca))
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(6):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "akua-webhook.akua-system.svc"])
def test_a_strict_client_accepts_it(tmp_path: Path, name: str) -> None:
    authority = LocalAuthority(tmp_path)
    handshake(authority.issue("webhook", local_authority.WEBHOOK_NAMES), authority.certificate, name)


def test_another_name_is_refused(tmp_path: Path) -> None:
    authority = LocalAuthority(tmp_path)
    files = authority.issue("webhook", local_authority.WEBHOOK_NAMES)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(files, authority.certificate, "example.com")


def test_it_is_kept_while_it_is_good(tmp_path: Path) -> None:
    files = LocalAuthority(tmp_path).issue("webhook", ("localhost",))
    before = files.certificate.read_bytes()
    assert LocalAuthority(tmp_path).issue("webhook", ("localhost",)).certificate.read_bytes() == before
    assert LocalAuthority(tmp_path).issue("webhook", ("localhost", "other")).certificate.read_bytes() != before


def test_it_is_renewed_before_it_expires(tmp_path: Path) -> None:
    local = LocalAuthority(tmp_path)
    local.issue("webhook", ("localhost",))
    ca = local.certificate.read_bytes()
    authority = CertificateAuthority(KeyPair(ca, (tmp_path / "ca.key").read_bytes()))
    old = local.write("webhook", authority.issue(("localhost",), days=20)).certificate.read_bytes()
    files = LocalAuthority(tmp_path).issue("webhook", ("localhost",))
    fresh = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert fresh.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=80)
    assert files.certificate.read_bytes() != old
    assert LocalAuthority(tmp_path).certificate.read_bytes() == ca


def test_one_that_is_broken_is_made_anew(tmp_path: Path) -> None:
    authority = LocalAuthority(tmp_path)
    authority.issue("webhook", ("localhost",)).certificate.write_text("nonsense")
    handshake(authority.issue("webhook", ("localhost",)), authority.certificate, "localhost")


def test_keys_are_private(tmp_path: Path) -> None:
    files = LocalAuthority(tmp_path / "tls").issue("webhook", ("localhost",))
    assert files.key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tls/ca.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("a file")
    with pytest.raises(InvalidInput, match="cannot be used"):
        LocalAuthority(tmp_path / "tls").issue("webhook", ("localhost",))

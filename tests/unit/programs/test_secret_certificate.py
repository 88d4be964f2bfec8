"""A server's certificate out of a Secret: a place-holder until it is there, the last good one after that."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.secret_certificate import SecretCertificate
from registry_access.model.errors import InvalidInput
from registry_access.model.resources import Metadata, Secret
from registry_access.runtime.tls.certificate_authority import CertificateAuthority, KeyPair
from registry_access.state.index import ResourceIndex

AUTHORITY = CertificateAuthority.new("test", 10)


def secret(pair: KeyPair, version: str, name: str = "akua-proxy-tls") -> Secret:
    data = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": AUTHORITY.pair.certificate}
    return Secret(Metadata(name, "akua-system", "uid", version), "kubernetes.io/tls", data)


def issued() -> KeyPair:
    return AUTHORITY.issue(("localhost",))


@pytest.fixture
def followed(tmp_path: Path) -> tuple[SecretCertificate, ResourceIndex, list[str]]:
    certificate, index, loaded = SecretCertificate("proxy", "akua-proxy-tls", tmp_path / "tls"), ResourceIndex(), list[str]()
    certificate.follow(index, loaded.append)
    return certificate, index, loaded


def test_there_is_something_to_bind_a_port_with_but_nothing_to_be_ready_with(tmp_path: Path) -> None:
    certificate = SecretCertificate("proxy", "akua-proxy-tls", tmp_path / "tls")
    assert certificate.files.certificate.read_bytes().startswith(b"-----BEGIN CERTIFICATE")
    assert certificate.files.key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    assert certificate.problem() == "Secret akua-system/akua-proxy-tls does not exist yet"


def test_one_that_is_there_already_is_taken_at_once(tmp_path: Path) -> None:
    pair, index, loaded = issued(), ResourceIndex(), list[str]()
    index.put(secret(pair, "1"))
    certificate = SecretCertificate("proxy", "akua-proxy-tls", tmp_path / "tls")
    certificate.follow(index, loaded.append)
    assert (certificate.problem(), loaded) == ("", ["proxy"])
    assert certificate.files.certificate.read_bytes() == pair.certificate
    assert certificate.files.key.read_bytes() == pair.key
    assert certificate.files.key.stat().st_mode & 0o777 == 0o600


def test_each_new_one_is_loaded_once(followed: tuple[SecretCertificate, ResourceIndex, list[str]]) -> None:
    certificate, index, loaded = followed
    first, second = issued(), issued()
    index.put(secret(first, "1", "akua-webhook-tls"))
    assert loaded == []
    index.put(secret(first, "1"))
    index.put(secret(first, "2"))  # a label, a CA bundle
    assert loaded == ["proxy"]
    index.put(secret(second, "3"))
    assert loaded == ["proxy", "proxy"]
    assert certificate.files.certificate.read_bytes() == second.certificate


def test_one_that_is_spoilt_or_gone_leaves_the_last_good_one(
    followed: tuple[SecretCertificate, ResourceIndex, list[str]],
) -> None:
    certificate, index, loaded = followed
    spoilt = KeyPair(issued().certificate, issued().key)
    index.put(secret(spoilt, "1"))
    assert "holds no certificate with its key" in certificate.problem()
    good = issued()
    index.put(secret(good, "2"))
    index.put(secret(spoilt, "3"))
    index.put(secret(KeyPair(b"", b""), "4"))
    index.remove(secret(good, "5").key)
    assert (certificate.problem(), loaded) == ("", ["proxy"])
    assert certificate.files.key.read_bytes() == good.key


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("a file")
    with pytest.raises(InvalidInput, match="--folder"):
        SecretCertificate("proxy", "akua-proxy-tls", tmp_path / "tls")

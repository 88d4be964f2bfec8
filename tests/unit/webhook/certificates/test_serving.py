"""Serving certificates: for which names, and when there is a new one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from registry_access.model.resources import Metadata, Secret
from registry_access.runtime.tls.certificate_authority import KeyPair, belong_together, has_issued
from webhook.certificates.authorities import Authorities, RotationTimes
from webhook.certificates.serving import entries_to_write, proxy_hosts, webhook_hosts

NOW = 1_800_000_000.0
DAY = 86400.0
HOSTS = ("akua-proxy.akua-system.svc", "10.96.0.7")
SERVICE_NAMES = ("akua-proxy.akua-system.svc", "akua-proxy.akua-system.svc.cluster.local")
AUTHORITIES = Authorities.first(NOW, RotationTimes())


def secret(**entries: bytes) -> Secret:
    return Secret(
        Metadata("akua-proxy-tls", "akua-system"), "kubernetes.io/tls", {k.replace("_", "."): v for k, v in entries.items()}
    )


def made(now: float = NOW, authorities: Authorities = AUTHORITIES) -> Secret:
    entries = entries_to_write(None, authorities, HOSTS, now, requested=False)
    return Secret(Metadata("akua-proxy-tls", "akua-system"), "kubernetes.io/tls", entries)


@pytest.mark.parametrize(
    ("host", "external", "service", "expected"),
    [
        ("oci.akua.dev", "", None, ("oci.akua.dev", *SERVICE_NAMES)),
        ("oci.akua.dev:5000", "", {"spec": {"clusterIP": "10.96.0.7"}}, ("oci.akua.dev", *SERVICE_NAMES, "10.96.0.7")),
        ("oci.akua.dev", "https://pull.example.com:8443", None, ("oci.akua.dev", "pull.example.com", *SERVICE_NAMES)),
        ("oci.akua.dev", "https://oci.akua.dev", {"spec": {"clusterIP": "None"}}, ("oci.akua.dev", *SERVICE_NAMES)),
        ("oci.akua.dev", "", {"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}, ("oci.akua.dev", *SERVICE_NAMES)),
        (
            "a",
            "",
            {"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]}},
            ("a", *SERVICE_NAMES, "10.0.0.1", "fd00::1"),
        ),
        ("[fd00::9]:5000", "", {}, ("fd00::9", *SERVICE_NAMES)),
        ("127.0.0.1:15000", "", None, ("127.0.0.1", *SERVICE_NAMES)),
    ],
)
def test_the_proxys_names(host: str, external: str, service: dict[str, object] | None, expected: tuple[str, ...]) -> None:
    assert proxy_hosts(host, external, service) == expected


def test_the_webhook_is_called_by_its_service() -> None:
    assert "akua-webhook.akua-system.svc" in webhook_hosts()


def test_a_new_one_is_whole() -> None:
    data = made().data
    certificate = x509.load_pem_x509_certificate(data["tls.crt"])
    assert belong_together(KeyPair(data["tls.crt"], data["tls.key"]))
    assert has_issued(data["ca.crt"], data["tls.crt"])
    assert data["ca.crt"] == AUTHORITIES.bundle()
    assert certificate.not_valid_after_utc == datetime.fromtimestamp(NOW, UTC) + timedelta(days=90)


def test_one_that_is_good_stays() -> None:
    for days in (0, 1, 60):
        assert entries_to_write(made(), AUTHORITIES, HOSTS, NOW + days * DAY, requested=False) == {}
    assert entries_to_write(made(), AUTHORITIES, tuple(reversed(HOSTS)), NOW, requested=False) == {}


@pytest.mark.parametrize(
    ("found", "hosts", "later", "requested"),
    [
        (made(), HOSTS, 60 * DAY + 1, False),  # thirty days left
        (made(), HOSTS, 200 * DAY, False),  # expired
        (made(NOW + 700 * DAY), HOSTS, 0, False),  # of a clock that was wrong: nobody believes it yet
        (made(), (*HOSTS, "pull.example.com"), 0, False),
        (made(), HOSTS[:1], 0, False),  # the Service's address is another's now
        (made(), HOSTS, 0, True),
        (made(authorities=Authorities.first(NOW, RotationTimes())), HOSTS, 0, False),
        (secret(tls_crt=made().data["tls.crt"], tls_key=made().data["tls.key"]), HOSTS, 0, False),  # another's key
        (secret(tls_crt=b"nonsense", tls_key=b""), HOSTS, 0, False),
        (secret(), HOSTS, 0, False),
    ],
)
def test_what_is_not_good_is_made_anew(found: Secret, hosts: tuple[str, ...], later: float, requested: bool) -> None:
    entries = entries_to_write(found, AUTHORITIES, hosts, NOW + later, requested=requested)
    assert entries["tls.crt"] != found.data.get("tls.crt")
    again = Secret(found.metadata, found.type, entries)
    assert entries_to_write(again, AUTHORITIES, hosts, NOW + later, requested=False) == {}


def test_during_a_rotation_the_bundle_comes_first_and_the_certificate_when_the_new_ca_signs() -> None:
    found, times = made(), RotationTimes()
    rotated = AUTHORITIES.after(NOW, times, [found.data["tls.crt"]], requested=True)
    assert entries_to_write(found, rotated, HOSTS, NOW, requested=False) == {"ca.crt": rotated.bundle()}
    later = NOW + times.requested_ahead
    entries = entries_to_write(found, rotated, HOSTS, later, requested=False)
    assert has_issued(rotated.members[-1].certificate, entries["tls.crt"])


def test_while_the_key_of_the_current_ca_is_lost_a_new_one_is_made_once() -> None:
    times = RotationTimes()
    recovered = Authorities.first(NOW, times, [AUTHORITIES.members[0].certificate])
    hosts = (*HOSTS, "10.96.0.8")
    entries = entries_to_write(made(), recovered, hosts, NOW, requested=False)
    assert has_issued(recovered.members[-1].certificate, entries["tls.crt"])
    again = Secret(made().metadata, "kubernetes.io/tls", entries)
    assert entries_to_write(again, recovered, hosts, NOW + 5, requested=False) == {}

"""The webhook's registration and its CA."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from control.doctor.cluster.admission.registration import registration_checks
from control.doctor.cluster.installation import Installation
from control.doctor.cluster.view import Lookup
from registry_access.runtime.tls.certificate_authority import CertificateAuthority
from tests.support.fake_cluster import ABSENT, HIDDEN, seen

HOST = "oci.akua.dev"


CA = CertificateAuthority.new("one", 3650)


OTHER_CA = CertificateAuthority.new("two", 3650)


BUNDLE, OTHER = CA.pair.certificate.decode(), OTHER_CA.pair.certificate.decode()


def registered(bundle: str, **client: Any) -> Lookup:
    service = {"service": {"namespace": "akua-system", "name": "akua-webhook"}}
    config = service | {"caBundle": base64.b64encode(bundle.encode()).decode()} | client
    return seen({"webhooks": [{"name": "pods.registry.akua.dev", "failurePolicy": "Ignore", "clientConfig": config}]})


@pytest.mark.parametrize(
    ("registration", "ca", "finding", "says"),
    [
        (registered(BUNDLE), BUNDLE, "good", "failurePolicy Ignore, caBundle as in"),
        (registered(BUNDLE), BUNDLE + OTHER, "warning", "a rotation may be in progress"),
        (registered(OTHER), BUNDLE, "bad", "its caBundle is not the CA in ConfigMap akua-ca"),
        (registered(""), BUNDLE, "bad", "has no caBundle"),
        (registered("junk"), BUNDLE, "bad", "has no caBundle"),
        (registered("", caBundle="%%%"), BUNDLE, "bad", "has no caBundle"),
        (registered(BUNDLE), "", "warning", "ConfigMap akua-ca has no certificate"),
        (registered(BUNDLE, service=None, url="https://10.0.0.1/mutate"), BUNDLE, "warning", "points to https://10.0.0.1/mutate"),
        (seen({"webhooks": []}), BUNDLE, "bad", "lists no webhook"),
        (ABSENT, BUNDLE, "bad", "no pod is rewritten"),
        (HIDDEN, BUNDLE, "unseen", "cannot be looked at"),
    ],
)
def test_the_registration(registration: Lookup, ca: str, finding: str, says: str) -> None:
    installation = Installation(HOST, registration=registration, ca=seen({"data": {"ca.crt": ca}}))
    (check,) = registration_checks(installation)
    assert (str(check.finding), says in check.detail) == (finding, True), check.detail


def test_a_ca_that_may_not_be_seen_is_not_compared() -> None:
    (check,) = registration_checks(Installation(HOST, registration=registered(BUNDLE), ca=HIDDEN))
    assert (str(check.finding), "cannot be compared: not allowed" in check.detail) == ("unseen", True)

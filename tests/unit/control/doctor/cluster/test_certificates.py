"""Certificates that end, are missing or may not be seen."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from control.doctor.cluster.certificates import certificate_checks
from control.doctor.cluster.installation import Installation, read_installation
from control.doctor.cluster.reach.route import Answer, judge_name
from registry_access.runtime.tls.certificate_authority import CertificateAuthority
from registry_access.settings import Settings
from tests.support.fake_cluster import APPS, HIDDEN, SYSTEM, FakeApi, deployment, findings, seen, told

HOST = "oci.akua.dev"


CA = CertificateAuthority.new("one", 3650)


OTHER_CA = CertificateAuthority.new("two", 3650)


BUNDLE, OTHER = CA.pair.certificate.decode(), OTHER_CA.pair.certificate.decode()


NOW = datetime.now(UTC)


def secret(pem: bytes) -> dict[str, Any]:
    return {"data": {"tls.crt": base64.b64encode(pem).decode()}}


async def test_certificates_that_end_are_said_and_keys_are_never_shown() -> None:
    served = CA.issue(["akua-webhook.akua-system.svc"])
    api = FakeApi(
        {
            f"{SYSTEM}/secrets/akua-webhook-tls": secret(served.certificate) | {"key": served.key.decode()},
            f"{SYSTEM}/secrets/akua-proxy-tls": secret(b"nonsense"),
        }
    )
    installation = Installation(HOST, ca=seen({"data": {"ca.crt": BUNDLE + OTHER}}))
    checks = await certificate_checks(api.view, installation, NOW)
    assert findings(*checks) == [
        ("good", "certificate akua-ca"),
        ("good", "certificate akua-ca"),
        ("good", "certificate akua-webhook-tls"),
        ("bad", "certificate akua-proxy-tls"),
    ]
    assert "PRIVATE" not in str(checks)
    soon = await certificate_checks(api.view, installation, NOW + timedelta(days=80))
    assert told(soon)["certificate akua-webhook-tls"][0] == "warning"
    later = await certificate_checks(api.view, installation, NOW + timedelta(days=91))
    assert re.match(
        r"Secret akua-webhook-tls expired at .*; its renewal is overdue", told(later)["certificate akua-webhook-tls"][1]
    )


async def test_certificates_that_are_not_there_or_may_not_be_seen() -> None:
    api = FakeApi(refused={f"{SYSTEM}/secrets/akua-proxy-tls"})
    found = told(await certificate_checks(api.view, Installation(HOST), NOW))
    assert found["certificate akua-ca"][0] == "warning"
    assert found["certificate akua-webhook-tls"][0] == "bad"
    assert found["certificate akua-proxy-tls"][0] == "unseen"
    hidden = told(await certificate_checks(api.view, Installation(HOST, ca=HIDDEN), NOW))
    assert "cannot be looked at" in hidden["certificate akua-ca"][1]


async def test_behind_an_ingress_that_ends_tls_no_certificate_of_the_proxys_is_looked_for() -> None:
    settings = {"AKUA_PROXY_PLAIN_HTTP": "true", "AKUA_EXTERNAL_URL": "https://pull.example", "AKUA_AUDIT_DSN": None}
    env = [{"name": name, "value": value} if value else {"name": name, "valueFrom": {}} for name, value in settings.items()]
    api = FakeApi({f"{APPS}/akua-system/deployments/akua-proxy": deployment(env=env)})
    installation = await read_installation(api.view, Settings(host=HOST), inside=False)
    assert (installation.url, installation.host, installation.plain_http) == ("https://pull.example", HOST, True)
    assert "certificate akua-proxy-tls" not in told(await certificate_checks(api.view, installation, NOW))
    answer = Answer(401, 'Bearer realm="https://pull.example/token",service="x"')
    assert findings(*judge_name(installation, answer, ours=False)) == [("good", "route")]

"""What processes say of themselves, through the API server: red where something is wrong behind a pod that is ready."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from control.doctor.cluster.installation import Installation
from control.doctor.cluster.processes import process_checks
from control.doctor.cluster.view import Listing
from registry_access.runtime.tls.certificate_authority import CertificateAuthority
from tests.support.fake_cluster import SYSTEM, FakeApi, told

PAIR = CertificateAuthority.new("one", 10).issue(["oci.akua.dev"])
FINGERPRINT = x509.load_pem_x509_certificate(PAIR.certificate).fingerprint(SHA256()).hex()
POD = {
    "metadata": {"name": "akua-proxy-1"},
    "spec": {
        "containers": [{"ports": [{"name": "registry", "containerPort": 15000}, {"name": "operations", "containerPort": 15090}]}]
    },
}
INSTALLATION = Installation("oci.akua.dev", processes={"akua-proxy": Listing([POD])})
READYZ = f"{SYSTEM}/pods/akua-proxy-1:15090/proxy/readyz"
SECRET = {"data": {"tls.crt": base64.b64encode(PAIR.certificate).decode()}}


def api(**said: Any) -> FakeApi:
    answer = {"ready": True, "failures": {}, "concerns": {}, "certificates": {"proxy": FINGERPRINT}, **said}
    return FakeApi({READYZ: answer, f"{SYSTEM}/secrets/akua-proxy-tls": SECRET})


async def test_processes_that_are_well() -> None:
    found = told(await process_checks(api().view, INSTALLATION))
    assert found["processes akua-proxy"][0] == "good"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"concerns": {"audit": "disk full"}}, "audit: disk full; pulls are refused while they cannot be recorded; free space"),
        ({"failures": {"freshness": "the state was last proven current 20 s ago"}}, "logs akua-proxy-1"),
        ({"concerns": {"certificate": "Secret cannot be used"}}, "delete the Secret to get a managed one"),
        ({"certificates": {"proxy": "0" * 64}}, "but Secret akua-proxy-tls holds "),
    ],
)
async def test_what_is_wrong_behind_a_pod_that_is_ready(said: dict[str, Any], says: str) -> None:
    finding, detail = told(await process_checks(api(**said).view, INSTALLATION))["processes akua-proxy"]
    assert (finding, says in detail) == ("bad", True), detail


async def test_pods_that_cannot_be_asked_are_left_to_other_lines() -> None:
    refused = api()
    refused.refused.add(READYZ)
    assert await process_checks(refused.view, INSTALLATION) == []
    assert await process_checks(FakeApi().view, Installation("oci.akua.dev")) == []


async def test_a_secret_that_may_not_be_seen_is_not_compared() -> None:
    hidden = api(certificates={"proxy": "0" * 64})
    hidden.refused.add(f"{SYSTEM}/secrets/akua-proxy-tls")
    assert told(await process_checks(hidden.view, INSTALLATION))["processes akua-proxy"][0] == "good"

"""Whose reviews are recorded, where the API server shows a credential: asked by a real API server, and by anybody else."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import yaml

from tests.support.akua_process import AkuaProcess, akua_serve
from tests.support.kubernetes import ControlPlane, running_control_plane
from tests.support.pods import pod, pod_manifest, review
from tests.support.ports import free_port

API = "registry.akua.dev/v1alpha1"


@dataclass
class Admission:
    plane: ControlPlane
    akua: AkuaProcess
    authority: trustme.CA

    @property
    def webhook(self) -> str:
        return f"https://{self.akua.environment['AKUA_WEBHOOK_ADDRESS']}/mutate"

    def create(self, name: str) -> dict[str, Any]:
        manifest = pod_manifest("ghcr.io/acme/app:1", namespace="prod")
        manifest["metadata"]["name"] = name
        return dict(json.loads(self.plane.kubectl("create", "-o", "json", "-f", "-", input=json.dumps(manifest))))

    def recorded(self) -> set[str]:
        return {row["pod"] for row in self.akua.audit("--operation", "admission")}


def admission_configuration(folder: Path, webhook: str, user: dict[str, str]) -> str:
    """As docs/operations.md has it."""
    kubeconfig = {"apiVersion": "v1", "kind": "Config", "users": [{"name": webhook, "user": user}]}
    (folder / "webhooks.kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    configuration = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "WebhookAdmissionConfiguration",
        "kubeConfigFile": str(folder / "webhooks.kubeconfig"),
    }
    plugins = [{"name": "MutatingAdmissionWebhook", "configuration": configuration}]
    return yaml.safe_dump({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins})


@pytest.fixture(scope="module", params=["token", "certificate"])
def admission(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    folder = tmp_path_factory.mktemp(request.param)
    authority, clients, port = trustme.CA(), trustme.CA(), free_port()
    serving = authority.issue_cert("127.0.0.1")
    serving.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    serving.private_key_pem.write_to_path(folder / "tls.key")
    settings = {"webhook_tls_certificate": str(folder / "tls.crt"), "webhook_tls_key": str(folder / "tls.key")}
    if request.param == "token":
        (folder / "tokens").write_text("the-next-one\nthe-one-of-now\n")
        settings["webhook_token_file"] = str(folder / "tokens")
        user = {"token": "the-one-of-now"}
    else:
        clients.cert_pem.write_to_path(folder / "clients.pem")
        client = clients.issue_cert(common_name="kube-apiserver")
        client.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
        settings |= {"webhook_client_ca_file": str(folder / "clients.pem"), "webhook_client_names": "kube-apiserver"}
        user = {"client-certificate": str(folder / "client.pem"), "client-key": str(folder / "client.pem")}
    (folder / "plane").mkdir()
    configuration = admission_configuration(folder, f"127.0.0.1:{port}", user)
    with (
        running_control_plane(folder / "plane", admission=configuration) as plane,
        akua_serve(folder / "akua", webhook_address=f"127.0.0.1:{port}", **settings) as akua,
    ):
        made = Admission(plane, akua, authority)
        akua.drop("namespace", {"apiVersion": "v1", "kind": "Namespace", "metadata": workspace("acme")})
        akua.drop(
            "install", {"apiVersion": API, "kind": "Install", "metadata": {"name": "shop", "namespace": "acme"}, "spec": SPEC}
        )
        plane.kubectl("create", "namespace", "prod")
        plane.kubectl("apply", "-f", "-", input=json.dumps(registration(made)))
        deadline = time.monotonic() + 60
        while not any(each.startswith("prod/first-") for each in made.recorded()) and time.monotonic() < deadline:
            made.create(f"first-{time.monotonic_ns()}")  # until grant and registration are in force
            time.sleep(0.5)
        yield made


SPEC = {"repositories": ["ghcr.io/acme/*"], "targets": [{"namespace": "prod"}]}


def workspace(name: str) -> dict[str, Any]:
    return {"name": name, "labels": {"registry.akua.dev/workspace": "true"}}


def registration(made: Admission) -> dict[str, Any]:
    bundle = base64.b64encode(made.authority.cert_pem.bytes()).decode()
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "akua-webhook"},
        "webhooks": [
            {
                "name": "pods.registry.akua.dev",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": {"url": made.webhook, "caBundle": bundle},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }
        ],
    }


def test_what_the_api_server_sends_is_recorded_and_what_is_forged_is_answered_alone(admission: Admission) -> None:
    """Issue 11, item 9: forged pods filled the trail from wherever the port can be reached."""
    image = admission.create("real")["spec"]["containers"][0]["image"]
    assert image.startswith(admission.akua.host)
    forged = pod("ghcr.io/acme/app:1")
    forged["metadata"]["name"] = "forged"
    trusted = ssl.create_default_context()
    admission.authority.configure_trust(trusted)
    for headers in ({}, {"Authorization": "Bearer a-guess"}):
        answer = httpx.post(admission.webhook, content=review(forged), headers=headers, verify=trusted, trust_env=False)
        assert answer.status_code == 200
        assert "patch" in answer.json()["response"]
    admission.create("later")
    deadline = time.monotonic() + 10
    while "prod/later" not in admission.recorded() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert {"prod/real", "prod/later"} <= admission.recorded()
    assert "prod/forged" not in admission.recorded()
    metrics = httpx.get(f"http://{admission.akua.operations}/metrics", trust_env=False).text
    assert "akua_admission_unverified_total 2.0" in metrics

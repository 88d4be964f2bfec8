"""`akua doctor` on a whole installation: from this machine, which is the node, and from our own pods."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support.akua_process import AKUA
from tests.support.installation import HOST, Installation
from tests.support.tenant import CREDENTIAL, INSTALL, Tenant

Found = dict[str, tuple[str, str]]


def findings(said: str) -> Found:
    return {item["check"]: (item["finding"], item["detail"]) for item in json.loads(said)}


def from_here(installation: Installation) -> Found:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AKUA_", "KUBE"))}
    environment |= {"AKUA_STATE": "kubernetes", "AKUA_HOST": HOST, "KUBECONFIG": str(installation.cluster.kubeconfig)}
    command = [str(AKUA), "doctor", "-o", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout, done.stderr
    return findings(done.stdout)


def test_it_looks_from_the_node_to_each_install(installation: Installation, tenant: Tenant) -> None:
    found = from_here(installation)
    looked_at = {
        "name",
        "node-trust",
        "route",
        "trust",
        "deployment akua-webhook",
        "deployment akua-proxy",
        "service akua-webhook",
        "service akua-proxy",
        "registration pods.registry.akua.dev",
        "certificate akua-ca",
        "certificate akua-webhook-tls",
        "certificate akua-proxy-tls",
        "clock",
        "rights akua-webhook",
        "rights akua-proxy",
        "rights",
        f"rights {tenant.workspace}",
        "freshness installs",
        "freshness namespaces",
        "freshness products",
        "freshness pullgrants",
        "freshness registrycredentials",
        "leader",
        f"credential {tenant.workspace}/{CREDENTIAL}",
        f"install {tenant.workspace}/{INSTALL}",
    }
    assert {name: found.get(name) for name in looked_at if found.get(name, ("",))[0] != "good"} == {}
    trial = next(name for name in found if name.startswith("trial pod "))
    assert found[trial][0] == "good", found[trial]
    assert f"workspace {tenant.workspace}" not in found, "the proxy is let into its secrets"


@pytest.mark.parametrize("deployment", ["akua-proxy", "akua-webhook"])
def test_from_a_pod_it_says_what_that_account_may_not_see(installation: Installation, tenant: Tenant, deployment: str) -> None:
    command = ["exec", f"deploy/{deployment}", "--", "akua", "doctor", "-o", "json", "--workspace", tenant.workspace]
    done = installation.cluster.run("-n", "akua-system", *command)
    found = findings(done.stdout)
    assert done.returncode == 0, {name: detail for name, (finding, detail) in found.items() if finding == "bad"}
    for name in ("cluster", "clock", "server", "audit trail", "freshness installs", f"install {tenant.workspace}/{INSTALL}"):
        assert found[name][0] == "good", found[name]
    hidden = {name for name, (finding, _) in found.items() if finding == "unseen"}
    assert hidden >= {"deployment akua-proxy", "rights akua-webhook"}

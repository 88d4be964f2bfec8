"""Every right that our ServiceAccounts have is used, and none is missing.

Real processes, with the rights of the manifests, do everything that they do; the API server's audit log says what they asked for.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo_registry.registry import UpstreamRegistry
from tests.support.akua_process import AKUA
from tests.support.api_requests import ApiRequests
from tests.support.cluster_process import ClusterProcess, account_kubeconfig, cluster_process
from tests.support.kubernetes import ControlPlane
from tests.support.kustomize import Manifest, built, of_kind
from tests.support.serving import served

ROOT = Path(__file__).parents[2]
API = "registry.akua.dev/v1alpha1"
HOST = "oci.akua.dev"
REGISTRATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
HEARTBEATS = ("products", "installs")  # what both watch
ACCOUNTS = ("akua-webhook", "akua-proxy", "akua-node-trust")
Right = tuple[str, str, str, str]  # account, "resource.group/subresource", object's name or "", verb
# Rights for what cannot be brought about here in seconds, with the test that shows the request.
SHOWN_ELSEWHERE: dict[Right, str] = {
    ("akua-proxy", "installs.registry.akua.dev", "", "get"): "tests/http/test_usage_report.py",
    ("akua-proxy", "registrycredentials.registry.akua.dev", "", "get"): "tests/http/test_usage_report.py",
}


def granted() -> set[Right]:
    """Each single right of each account, by the rules of base and node-trust."""
    rights = set()
    for role in of_kind(built("base+node-trust"), "Role", "ClusterRole"):
        account = "akua-proxy" if role["metadata"]["name"] == "akua-workspace-secrets" else role["metadata"]["name"]
        for rule in role["rules"] if account in ACCOUNTS else ():
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for name in rule.get("resourceNames", [""]):
                        rights |= {(account, _full(resource, group), name, verb) for verb in rule["verbs"]}
    return rights


def _full(resource: str, group: str) -> str:
    name, slash, subresource = resource.partition("/")
    return f"{name}.{group}{slash}{subresource}" if group else resource


def used(events: list[dict[str, Any]]) -> set[Right]:
    """The rights that granted requests needed, with the object's name and ("") without."""
    rights: set[Right] = set()
    for event in events:
        account = str(event["user"]["username"]).rpartition(":")[2]
        about = event.get("objectRef", {})
        if event["responseStatus"]["code"] == 403 or "resource" not in about:
            continue
        subresource = f"/{about['subresource']}" if about.get("subresource") else ""
        resource = _full(about["resource"] + subresource, about.get("apiGroup", ""))
        verbs = {event["verb"]}
        if event["verb"] == "patch" and event["responseStatus"]["code"] == 201:
            verbs.add("create")  # server-side apply of what was not there asks for both
        for verb in verbs:
            rights |= {(account, resource, "", verb), (account, resource, about.get("name", ""), verb)}
        if about["resource"] == "rolebindings" and "create" in verbs:
            rights.add((account, "clusterroles.rbac.authorization.k8s.io", "akua-workspace-secrets", "bind"))
    return rights


@pytest.fixture
async def registry() -> AsyncIterator[tuple[UpstreamRegistry, str]]:
    upstream = UpstreamRegistry(login="basic")
    upstream.repository("acme/app").add_image([{"etc/name": b"app"}], "1.0", "amd64")
    async with served(upstream.app(), guard=False) as authority:
        yield upstream, authority


@pytest.fixture
def parts(installed: ControlPlane, api: ApiRequests, tmp_path: Path) -> Iterator[tuple[ClusterProcess, ClusterProcess]]:
    """A webhook and a proxy, with the rights of the manifests. The proxy begins, so that it makes the heartbeats of both."""
    for registration in of_kind(built("base"), "MutatingWebhookConfiguration"):
        api.apply(registration, f"{REGISTRATIONS}/{registration['metadata']['name']}")
    forget_heartbeats(api)
    trail = f"sqlite:///{tmp_path}/audit.db"
    with cluster_process(installed, tmp_path / "proxy", "proxy", host=HOST, audit_dsn=trail) as proxy:
        heartbeats_return(api)
        with cluster_process(installed, tmp_path / "webhook", "webhook", host=HOST) as webhook:
            webhook.wait_until_ready()
            proxy.wait_until_ready()
            yield webhook, proxy
    for name in ("akua-webhook", "zz-akua-webhook"):
        api("DELETE", f"{REGISTRATIONS}/{name}")


def forget_heartbeats(api: ApiRequests) -> None:
    for kind in HEARTBEATS:
        api("DELETE", f"/apis/{API}/namespaces/akua-system/{kind}/akua-heartbeat")


def heartbeats_return(api: ApiRequests) -> None:
    deadline = time.monotonic() + 30
    while not all(api("GET", f"/apis/{API}/namespaces/akua-system/{kind}/akua-heartbeat").allowed for kind in HEARTBEATS):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def objects(authority: str, upstream: UpstreamRegistry) -> list[Manifest]:
    def of_workspace(kind: str, name: str, **parts: Any) -> Manifest:
        version = "v1" if kind == "Secret" else API
        return {"apiVersion": version, "kind": kind, "metadata": {"namespace": "rights", "name": name}, **parts}

    workspace = {"name": "rights", "labels": {"registry.akua.dev/workspace": "true"}}
    takes = {"registry.akua.dev/workspaces": "rights"}
    credential = {
        "registry": authority,
        "type": "Basic",
        "secretName": "upstream",
        "insecure": True,
        "allowPrivateAddresses": True,
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": workspace},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "rights-prod", "annotations": takes}},
        of_workspace("Secret", "upstream", stringData={"username": upstream.username, "password": upstream.password}),
        of_workspace("RegistryCredential", "upstream", spec=credential),
        of_workspace("Product", "app", spec={"repositories": [f"{authority}/acme/app"]}),
        of_workspace("Install", "shop", spec={"product": "app", "targets": [{"namespace": "rights-prod"}]}),
        of_workspace("Install", "lost", spec={"product": "app", "targets": [{"namespace": "rights-nowhere"}]}),
    ]


async def test_every_right_is_used_and_none_is_missing(
    installed: ControlPlane,
    api: ApiRequests,
    registry: tuple[UpstreamRegistry, str],
    parts: tuple[ClusterProcess, ClusterProcess],
    asked: Callable[[], list[dict[str, Any]]],
    tmp_path: Path,
) -> None:
    upstream, authority = registry
    webhook, proxy = parts
    for manifest in objects(authority, upstream):
        await kubectl(installed, "apply", "--server-side", "-f", "-", input=json.dumps(manifest))
    token = await pull_token(installed)
    async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{proxy.port}", verify=False, timeout=10) as client:  # noqa: S501
        client.auth = httpx.BasicAuth("shop", token)
        name = authority.replace(":", "_")
        await until(lambda: pulled(client, f"/v2/{name}/acme/app/manifests/1.0"))
        for _ in range(2):  # the second makes a series of the event
            assert (await client.get(f"/v2/{name}/acme/other/manifests/1.0")).status_code == 403
    await asyncio.to_thread(trust_node, installed, tmp_path)
    # The proxy's last words: what was used, what was refused.
    await asyncio.to_thread(proxy.stop)
    forget_heartbeats(api)
    await asyncio.to_thread(heartbeats_return, api)
    # A new token, told on the install; what fails again is told as a series; then everything goes.
    for install in ("lost", "shop"):
        change = json.dumps({"spec": {"tokenGeneration": 2}})
        await kubectl(installed, "-n", "rights", "patch", "install", install, "--type=merge", "-p", change)
    await pull_token(installed, other_than=token)
    await kubectl(installed, "-n", "rights", "delete", "install", "shop")
    await until(lambda: gone(installed, "rights-prod", "secret", "akua-pull-shop"))
    await kubectl(installed, "label", "namespace", "rights", "registry.akua.dev/workspace-")
    await until(lambda: gone(installed, "rights", "rolebinding", "akua-proxy"))
    await asyncio.to_thread(webhook.stop)

    found = used(asked())
    unused = {right for right in granted() if right not in found}
    assert sorted(unused - SHOWN_ELSEWHERE.keys()) == []
    assert SHOWN_ELSEWHERE.keys() <= granted()
    for test in SHOWN_ELSEWHERE.values():
        assert (ROOT / test.partition("::")[0]).exists()
    assert refusals(asked()) == set()


def trust_node(plane: ControlPlane, folder: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "AKUA_HOST": HOST, "AKUA_CONTAINERD_CONFIG_PATH": str(folder / "certs.d")}
    environment["KUBECONFIG"] = str(account_kubeconfig(plane, folder, "akua-node-trust", "akua-node-trust"))
    subprocess.run([AKUA, "node-trust", "--once"], env=environment, cwd=folder, check=True, capture_output=True, timeout=60)
    assert (folder / "certs.d" / HOST / "hosts.toml").exists()


def refusals(events: list[dict[str, Any]]) -> set[str]:
    """What our processes asked for and were refused, but for a workspace's Secrets before, and after, the proxy is let in."""
    refused = set()
    for event in events:
        about = event.get("objectRef", {})
        ours = event.get("userAgent", "").startswith("akua")
        awaited = about.get("resource") == "secrets" and about.get("namespace") == "rights" and event["verb"] in ("list", "watch")
        if ours and event["responseStatus"]["code"] == 403 and not awaited:
            refused.add(f"{event['user']['username']}: {event['verb']} {event['requestURI']}")
    return refused


async def kubectl(plane: ControlPlane, *arguments: str, input: str | None = None, check: bool = True) -> str:
    return await asyncio.to_thread(plane.kubectl, *arguments, input=input, check=check)


async def pull_token(plane: ControlPlane, other_than: str = "") -> str:
    """The token in the pull Secret, once there is (another) one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        arguments = ("-n", "rights-prod", "get", "secret", "akua-pull-shop", "-o", "json")
        said = await kubectl(plane, *arguments, check=False)
        if said.startswith("{"):
            config = json.loads(base64.b64decode(json.loads(said)["data"][".dockerconfigjson"]))
            _, _, token = base64.b64decode(config["auths"][HOST]["auth"]).decode().partition(":")
            if token != other_than:
                return token
        await asyncio.sleep(0.2)
    raise AssertionError("no pull Secret")


async def pulled(client: httpx.AsyncClient, path: str) -> bool:
    return (await client.get(path)).status_code == 200


async def gone(plane: ControlPlane, namespace: str, kind: str, name: str) -> bool:
    return "NotFound" in await kubectl(plane, "-n", namespace, "get", kind, name, check=False)


async def until(question: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not await question():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)

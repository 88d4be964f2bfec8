"""Every build of manifests/: valid, complete, restricted, and of one mind with the settings that the programs know."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import kubernetes_validate
import pytest

from registry_access.settings import load_settings
from tests.support.kustomize import BUILDS, OVERLAYS, Manifest, built, containers, named, of_kind, pod_templates

# The oldest Kubernetes that ValidatingAdmissionPolicy is stable in, and the one that everything is tested on.
VERSIONS = ("1.30", "1.34")
FOREIGN = ("registry.akua.dev", "cert-manager.io", "monitoring.coreos.com")
PART_OF = "app.kubernetes.io/part-of"
PLACEHOLDER_DSN = "postgresql://user:password@database/trail"  # where the Secret is the user's own


def is_foreign(manifest: Manifest) -> bool:
    return str(manifest["apiVersion"]).startswith(FOREIGN)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_as_its_schema_says(version: str) -> None:
    distinct = {json.dumps(manifest): manifest for build in BUILDS for manifest in built(build)}
    for manifest in distinct.values():
        if not is_foreign(manifest) and manifest["kind"] != "CustomResourceDefinition":
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("build", BUILDS)
def test_every_object_says_what_it_is_part_of(build: str) -> None:
    for manifest in built(build):
        assert manifest["metadata"].get("labels", {}).get(PART_OF) == "akua-registry-access", manifest["metadata"]["name"]
    for name, template in pod_templates(built(build)):
        assert template["metadata"]["labels"].get("app.kubernetes.io/name") == name


@pytest.mark.parametrize("build", BUILDS)
def test_pods_hold_as_little_as_they_can(build: str) -> None:
    """Beyond what Pod Security checks, which tests/manifests/test_server.py asks the API server."""
    for name, template in pod_templates(built(build)):
        spec = template["spec"]
        assert spec["enableServiceLinks"] is False, "Kubernetes would set AKUA_* variables that are no settings"
        assert spec["priorityClassName"] == "akua-registry-access"
        assert spec["serviceAccountName"] == name
        assert spec["automountServiceAccountToken"] is (name != "akua-postgresql")
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(template):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"memory"}, "a limit of CPU makes every pod's creation slow"
            assert container["imagePullPolicy"] == "IfNotPresent"
        if name != "akua-node-trust":
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert not [volume for volume in spec.get("volumes", ()) if "hostPath" in volume]


@pytest.mark.parametrize("build", BUILDS)
def test_pods_are_asked_how_they_are_and_end_in_peace(build: str) -> None:
    for name in ("akua-webhook", "akua-proxy"):
        deployment = named(built(build), "Deployment", name)
        (container,) = containers(deployment["spec"]["template"])
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            assert container[probe]["httpGet"] == {"path": path, "port": "operations"}
        spec = deployment["spec"]["template"]["spec"]
        drain = settings_of(built(build), container).drain
        assert spec["terminationGracePeriodSeconds"] >= container["lifecycle"]["preStop"]["sleep"]["seconds"] + drain + 10
        budget = named(built(build), "PodDisruptionBudget", name)
        assert budget["spec"]["selector"] == deployment["spec"]["selector"]
        if deployment["spec"]["replicas"] > 1:
            assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        topologies = [each["topologyKey"] for each in spec["topologySpreadConstraints"]]
        assert topologies == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]


def settings_of(manifests: list[Manifest], container: Manifest) -> Any:
    """The settings that the container's process reads. Raises InvalidSettings."""
    environment: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        environment.update(named(manifests, "ConfigMap", source["configMapRef"]["name"])["data"])
    for variable in container.get("env", ()):
        reference = variable.get("valueFrom", {})
        if "secretKeyRef" in reference:
            secrets = [each for each in of_kind(manifests, "Secret") if each["metadata"]["name"] == "akua-audit"]
            dsn = base64.b64decode(secrets[0]["data"]["dsn"]).decode() if secrets else PLACEHOLDER_DSN
            assert reference["secretKeyRef"] == {"name": "akua-audit", "key": "dsn"}
            environment[variable["name"]] = dsn
        elif "fieldRef" in reference:
            environment[variable["name"]] = reference["fieldRef"]["fieldPath"]
        else:
            environment[variable["name"]] = variable["value"]
    return load_settings(environment)


@pytest.mark.parametrize("build", BUILDS)
def test_every_variable_is_a_setting(build: str) -> None:
    manifests = built(build)
    hosts = set()
    for name, template in pod_templates(manifests):
        if name == "akua-postgresql":
            continue
        (container,) = containers(template)
        settings = settings_of(manifests, container)
        hosts.add(settings.host)
        if name == "akua-node-trust":
            continue
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert settings.state == "kubernetes"
        assert settings.audit_writer == "metadata.name"
        assert settings.operations_address.port == ports["operations"]
        serving = settings.webhook_address if name == "akua-webhook" else settings.proxy_address
        assert (serving.host, serving.port) == ("0.0.0.0", ports["webhook" if name == "akua-webhook" else "registry"])
        assert settings.audit_dsn.startswith(("postgresql:", "sqlite:////audit/")) or name == "akua-webhook"
    assert len(hosts) == 1, "the nodes are told another host than the proxy"


def test_the_host_is_set_in_one_place() -> None:
    manifests = built("base+node-trust+cert-manager", "AKUA_HOST=registry.example.com:8443")
    for _, template in pod_templates(manifests):
        assert settings_of(manifests, containers(template)[0]).host == "registry.example.com:8443"
    assert named(manifests, "Certificate", "akua-proxy-tls")["spec"]["dnsNames"][0] == "registry.example.com"


@pytest.mark.parametrize("build", BUILDS)
def test_what_is_named_is_there(build: str) -> None:
    """Services find pods and their ports, policies their pods' ports, pods their accounts, volumes and ConfigMaps."""
    manifests = built(build)
    templates = dict(pod_templates(manifests))
    for service in of_kind(manifests, "Service"):
        chosen = [each for each in templates.values() if selects(service["spec"]["selector"], each)]
        assert chosen, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in port_names(chosen[0])
    for policy in of_kind(manifests, "NetworkPolicy"):
        chosen = [each for each in templates.values() if selects(policy["spec"]["podSelector"].get("matchLabels", {}), each)]
        assert chosen, policy["metadata"]["name"]
        for rule in policy["spec"].get("ingress", ()):
            assert {port["port"] for port in rule["ports"]} <= port_names(chosen[0])
    accounts = {each["metadata"]["name"] for each in of_kind(manifests, "ServiceAccount")}
    claims = {each["metadata"]["name"] for each in of_kind(manifests, "PersistentVolumeClaim")}
    configured = {each["metadata"]["name"] for each in of_kind(manifests, "ConfigMap")}
    for name, template in templates.items():
        assert template["spec"]["serviceAccountName"] in accounts
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", ())}
        claimed = named_workload(manifests, name)["spec"].get("volumeClaimTemplates", [])
        mounted = {mount["name"] for container in containers(template) for mount in container["volumeMounts"]}
        assert mounted == volumes.keys() | {claim["metadata"]["name"] for claim in claimed}
        assert {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v} <= claims
        for container in containers(template):
            assert {source["configMapRef"]["name"] for source in container.get("envFrom", ())} <= configured
    assert claims == ({"akua-audit"} if "akua-audit" in str(templates["akua-proxy"]["spec"]["volumes"]) else set())


def selects(labels: dict[str, str], template: Manifest) -> bool:
    return bool(labels.items() <= template["metadata"]["labels"].items())


def port_names(template: Manifest) -> set[str]:
    return {port["name"] for container in containers(template) for port in container.get("ports", ())}


def named_workload(manifests: list[Manifest], name: str) -> Manifest:
    (found,) = [each for each in of_kind(manifests, "Deployment", "StatefulSet", "DaemonSet") if each["metadata"]["name"] == name]
    return found


def test_one_proxy_writes_a_file_and_several_share_a_database() -> None:
    alone = named(built("base"), "Deployment", "akua-proxy")["spec"]
    assert (alone["replicas"], alone["strategy"]) == (1, {"type": "Recreate"})
    shared = named(built("base+postgresql"), "Deployment", "akua-proxy")["spec"]
    assert (shared["replicas"], shared["strategy"]["type"]) == (2, "RollingUpdate")
    assert "/audit" not in str(shared)
    for name in ("akua-proxy", "akua-webhook"):
        assert named(built("overlays/production"), "Deployment", name)["spec"]["replicas"] == 3


@pytest.mark.parametrize("build", BUILDS)
def test_images_are_ours_or_named_with_their_registry(build: str) -> None:
    for name, template in pod_templates(built(build)):
        image = containers(template)[0]["image"]
        if name == "akua-postgresql":
            assert re.fullmatch(r"docker\.io/library/postgres:\d+", image)
        elif build.startswith("overlays/"):
            assert re.fullmatch(r"[a-z.]+/akua-registry-access:[a-z0-9.]+", image)
        else:
            assert image == "akua-registry-access"
    assert set(OVERLAYS) == {"kind", "production"}

"""Alerts and dashboard: every metric in them exists, every alert says what to do, and Prometheus itself takes the rules."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from cli.main import app
from registry_access.model.decision import Gate, Reason
from registry_access.runtime.telemetry import Telemetry
from tests.support.kustomize import built, containers, named, of_kind, pod_templates
from tests.support.programs import requires_program

BUILD = "base+prometheus"
# Of Prometheus itself and of the API server, where it is scraped.
FOREIGN = {"up", "apiserver_admission_webhook_fail_open_count", "apiserver_admission_webhook_admission_duration_seconds"}
_SUFFIXES = ("_total", "_bucket", "_count", "_sum")


def rules() -> list[dict[str, Any]]:
    groups = named(built(BUILD), "PrometheusRule", "akua-registry-access")["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    (found,) = [each for each in of_kind(built(BUILD), "ConfigMap") if each["metadata"]["name"] == "akua-dashboard"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1", "what Grafana's sidecar looks for"
    content: dict[str, Any] = json.loads(found["data"]["akua-registry-access.json"])
    return content


def expressions() -> list[str]:
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    return [rule["expr"] for rule in rules()] + [target["expr"] for panel in panels for target in panel["targets"]]


def series() -> dict[str, set[str]]:
    """Every metric that a scrape can bring, with its labels."""
    found: dict[str, set[str]] = {}
    for metric in vars(Telemetry()).values():
        if not hasattr(metric, "_labelnames"):
            continue
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(metric._type, ("",))
        found.update({metric._name + suffix: set(metric._labelnames) for suffix in suffixes})
    return found


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_exists_with_the_labels_that_are_asked_for(expression: str) -> None:
    known = series()
    used = set(re.findall(r"\b((?:akua|apiserver)_[a-z_]+|up)\b(?!=)", expression))
    ours = {name for name in used if name not in FOREIGN and name.removesuffix("_bucket") not in FOREIGN}
    assert ours <= known.keys()
    given = {"le", "pod", "job", "namespace"}
    labels = set().union(*(known[name] for name in ours)) if ours else {"name"}
    for names in re.findall(r"by \(([^)]*)\)", expression):
        assert {name.strip() for name in names.split(",")} <= labels | given
    for name in re.findall(r"[{,]\s*([a-z_]+)(?:=~|!~|!=|=)", expression):
        assert name in labels | given | {"name"}


def test_values_of_labels_are_those_that_we_give() -> None:
    text = "\n".join(expressions())
    assert set(re.findall(r'reason!?="([^"]*)"', text)) <= {str(reason) for reason in Reason}
    assert set(re.findall(r'gate!?="([^"]*)"', text)) <= {str(gate) for gate in Gate}
    webhooks = named(built("base"), "MutatingWebhookConfiguration", "akua-webhook")["webhooks"]
    assert set(re.findall(r'[{]name="([^"]*)"', text)) == {webhook["name"] for webhook in webhooks}
    assert set(re.findall(r'job="([^"]*)"', text)) == {"akua-proxy", "akua-webhook"}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_what_it_means_and_what_to_do(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"Akua[A-Za-z]+", rule["alert"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "action"}
    group = typer.main.get_command(app)
    for first, second in re.findall(r"akua ([a-z]+)(?: ([a-z]+))?", rule["annotations"]["action"]):
        command = group.commands[first]  # type: ignore[attr-defined]
        assert second in command.commands if hasattr(command, "commands") else True, f"akua {first} {second}"


def test_every_refused_write_and_every_stale_watch_is_heard_of() -> None:
    """What the threat model and the fault list rely on people to be told."""
    alerted = " ".join(rule["expr"] for rule in rules())
    for metric in (
        "akua_state_staleness_seconds",
        "akua_certificate_expiry_timestamp_seconds",
        "akua_audit_failures_total",
        "akua_refusals_total",
        "akua_admission_reviews_total",
        "akua_admission_audit_drops_total",
        "akua_install_syncs_total",
        "akua_install_sync_leading",
    ):
        assert metric in alerted


def test_prometheus_finds_the_ports() -> None:
    manifests = built("base+prometheus+node-trust")
    monitor = named(manifests, "ServiceMonitor", "akua-registry-access")["spec"]
    wanted = monitor["selector"]["matchLabels"]
    parts = ("akua-proxy", "akua-webhook", "akua-node-trust")
    services = [each for each in of_kind(manifests, "Service") if wanted.items() <= each["metadata"]["labels"].items()]
    assert {service["metadata"]["labels"][monitor["jobLabel"]] for service in services} == set(parts)
    assert {service["metadata"]["namespace"] for service in services} == set(monitor["namespaceSelector"]["matchNames"])
    (endpoint,) = monitor["endpoints"]
    for service in services:
        (port,) = service["spec"]["ports"]
        assert port["name"] == endpoint["port"]
        template = dict(pod_templates(manifests))[service["spec"]["selector"]["app.kubernetes.io/name"]]
        assert port["targetPort"] in {each["name"] for each in containers(template)[0]["ports"]}


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    promtool = requires_program("promtool")
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(named(built(BUILD), "PrometheusRule", "akua-registry-access")["spec"]))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # The dashboard's queries have Grafana's variables in them; as rules they show whether they parse.
    queries = [query.replace("$__rate_interval", "5m") for query in expressions()]
    recorded = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

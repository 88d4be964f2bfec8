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
from programs.telemetry import Telemetry
from registry_access.model.decision import REASONS, Gate, Reason
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
    reasons = {reason for found in re.findall(r'reason[!=]~?"([^"]*)"', text) for reason in found.split("|")}
    assert reasons <= {str(reason) for reason in Reason}
    assert set(re.findall(r'gate!?="([^"]*)"', text)) <= {str(gate) for gate in Gate}
    webhooks = named(built("base"), "MutatingWebhookConfiguration", "akua-webhook")["webhooks"]
    assert set(re.findall(r'[{]name="([^"]*)"', text)) == {webhook["name"] for webhook in webhooks}
    assert set(re.findall(r'job="([^"]*)"', text)) == {"akua-proxy", "akua-webhook"}


def test_what_alerts_count_is_there_before_it_happens() -> None:
    """`increase` and `rate` do not see the first increase of a series that is born at 1."""
    text = Telemetry().exposition().decode()
    for gate, reasons in REASONS.items():
        for reason in reasons:
            assert f'akua_refusals_total{{gate="{gate}",reason="{reason}"}} 0.0' in text
    for series_ in (
        "akua_audit_failures_total",
        "akua_admission_audit_drops_total",
        'akua_admission_reviews_total{operation="CREATE",outcome="error"}',
        'akua_admission_reviews_total{operation="",outcome="invalid"}',
        'akua_install_syncs_total{result="failed"}',
        'akua_node_trust_looks_total{result="failed"}',
    ):
        assert f"{series_} 0.0" in text


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
        "akua_audit_days_left",
        "akua_audit_free_bytes",
        "akua_audit_folded_total",
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


# What goes on (series: values, a sample each minute), the minute that is looked at, and what must be firing then.
SCENARIOS: list[tuple[str, dict[str, str], int, set[str]]] = [
    (
        "all is well",
        {
            'up{job="akua-proxy"}': "1x60",
            'up{job="akua-webhook"}': "1x60",
            "akua_install_sync_leading": "1x60",
            "akua_state_staleness_seconds": "1x60",
            "akua_audit_failures_total": "0x60",
            'akua_refusals_total{gate="install",reason="install-revoked"}': "0+1x60",
            'akua_certificate_expiry_timestamp_seconds{server="proxy"}': "2000000x60",
            'akua_upstream_failures_total{registry="ghcr.io"}': "0x60",
            'akua_upstream_answers_total{registry="ghcr.io",status="2xx"}': "0+60x60",
            'akua_admission_reviews_total{operation="CREATE",outcome="patched"}': "0+10x60",
        },
        30,
        set(),
    ),
    ("nothing runs", {"unrelated": "1x60"}, 30, {"AkuaProxyDown", "AkuaWebhookDown"}),
    ("nobody leads", {"akua_install_sync_leading": "0x60"}, 30, {"AkuaNoLeader"}),
    ("a watch is behind", {'akua_state_staleness_seconds{pod="a"}': "0x20 12x40"}, 30, {"AkuaStateStale"}),
    ("one audit failure", {"akua_audit_failures_total": "0x27 1x33"}, 30, {"AkuaAuditFails"}),
    (
        "a storm of refusals",
        {'akua_refusals_total{gate="token",reason="token-invalid"}': "0x240 0+60x60"},
        270,
        {"AkuaRefusalsSpike"},
    ),
    (
        # Each pod is tried every five minutes, and every try is a HEAD and a GET.
        "a revoked install of 15 pods",
        {'akua_refusals_total{gate="install",reason="install-revoked"}': "0x240 0+6x60"},
        270,
        {"AkuaRefusalsSpike"},
    ),
    (
        "the same, and nothing before it: the series is there from the start",
        {'akua_refusals_total{gate="install",reason="install-revoked"}': "0x10 0+6x60"},
        40,
        {"AkuaRefusalsSpike"},
    ),
    (
        "clients that ask for what is not there, and for a further scope",
        {
            'akua_refusals_total{gate="upstream",reason="upstream-not-found"}': "0x20 0+60x60",
            'akua_refusals_total{gate="token",reason="scope-insufficient"}': "0x20 0+60x60",
        },
        60,
        set(),
    ),
    ("a full trail in ten days", {'akua_audit_days_left{pod="a"}': "10x60"}, 40, {"AkuaAuditDiskDays"}),
    (
        "a full trail in two days",
        {'akua_audit_days_left{pod="a"}': "2x60", 'akua_audit_days_left{pod="b"}': "9999x60"},
        40,
        {"AkuaAuditDiskDays", "AkuaAuditDiskDay"},
    ),
    ("little room left", {"akua_audit_free_bytes": "10000000x60", "akua_audit_days_left": "500x60"}, 40, {"AkuaAuditDiskDay"}),
    ("an install in a loop", {'akua_audit_folded_total{kind="refusal"}': "0+100x60"}, 40, {"AkuaAuditFolds"}),
    (
        "an upstream is away",
        {
            'akua_upstream_failures_total{registry="ghcr.io"}': "0+30x60",
            'akua_upstream_answers_total{registry="ghcr.io",status="2xx"}': "0+30x60",
        },
        30,
        {"AkuaUpstreamFails"},
    ),
    (
        "an upstream never answered",
        {'akua_upstream_failures_total{registry="ghcr.io"}': "0+3x60"},
        30,
        {"AkuaUpstreamFails"},
    ),
    (
        "an upstream fails now and then",
        {
            'akua_upstream_failures_total{registry="ghcr.io"}': "0+3x60",
            'akua_upstream_answers_total{registry="ghcr.io",status="2xx"}': "0+60x60",
        },
        30,
        set(),
    ),
    (
        "a credential is refused upstream",
        {'akua_refusals_total{gate="upstream",reason="upstream-unauthorized"}': "0x27 1x33"},
        30,
        {"AkuaCredentialRefused"},
    ),
    (
        "a credential ends in a week",
        {'akua_credential_expiry_timestamp_seconds{workspace="acme",credential="ghcr"}': "604800x60"},
        30,
        {"AkuaCredentialExpires"},
    ),
    (
        "a certificate ends in two days",
        {'akua_certificate_expiry_timestamp_seconds{server="proxy"}': "172800x60"},
        30,
        {"AkuaCertificateExpires"},
    ),
    (
        "a certificate has ended",
        {'akua_certificate_expiry_timestamp_seconds{server="webhook"}': "600x60"},
        30,
        {"AkuaCertificateExpires", "AkuaCertificateExpired"},
    ),
    (
        "the API server goes on without us",
        {'apiserver_admission_webhook_fail_open_count{name="pods.registry.akua.dev"}': "0x27 1x33"},
        30,
        {"AkuaWebhookSkipped"},
    ),
    ("installs fail", {'akua_install_syncs_total{result="failed"}': "0+1x60"}, 40, {"AkuaInstallSyncFails"}),
]


@pytest.mark.parametrize(("series", "minute", "firing"), [row[1:] for row in SCENARIOS], ids=[row[0] for row in SCENARIOS])
def test_alerts_fire_when_they_should_and_not_otherwise(
    tmp_path: Path, series: dict[str, str], minute: int, firing: set[str]
) -> None:
    promtool = requires_program("promtool")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(named(built(BUILD), "PrometheusRule", "akua-registry-access")["spec"]))
    running = {'up{job="akua-proxy"}': f"1x{minute}", 'up{job="akua-webhook"}': f"1x{minute}"}
    given = series if "unrelated" in series else running | series
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(firing)]
    # ALERTS is what Prometheus itself records of them.
    question = {"expr": 'max by (alertname) (ALERTS{alertstate="firing"})', "eval_time": f"{minute}m", "exp_samples": expected}
    input_series = [{"series": name, "values": values} for name, values in given.items()]
    test = {"interval": "1m", "input_series": input_series, "promql_expr_test": [question]}
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": [test]}))
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr

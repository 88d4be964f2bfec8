"""Settings and metrics as the documentation lists them; tests/unit/test_docs.py fails when the two part."""

from __future__ import annotations

from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from programs.telemetry import Telemetry
from registry_access.settings import described


def settings_table() -> str:
    """Every setting, as a Markdown table."""
    rows = [f"| `{item.name}` | {f'`{item.default}`' if item.default else ''} | {_cell(item.about)} |" for item in described()]
    return "\n".join(("| variable | default | meaning |", "|---|---|---|", *rows))


def metrics_table() -> str:
    """Every metric, as a Markdown table, by the name that Prometheus sees."""
    rows = []
    for metric in vars(Telemetry()).values():
        if isinstance(metric, MetricWrapperBase):
            name = f"{metric._name}_total" if isinstance(metric, Counter) else metric._name
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            rows.append(f"| `{name}` | {metric._type} | {labels} | {_cell(metric._documentation)} |")
    return "\n".join(("| metric | type | labels | meaning |", "|---|---|---|---|", *sorted(rows)))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

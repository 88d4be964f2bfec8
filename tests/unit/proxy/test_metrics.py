"""Labels are bounded, whatever members name."""

from __future__ import annotations

from prometheus_client import generate_latest

from proxy.metrics import REGISTRIES_MAXIMUM, ProxyMetrics


def test_hosts_of_thousands_of_credentials_are_no_thousands_of_series() -> None:
    metrics = ProxyMetrics()
    metrics.upstream_answered("ghcr.io", 200, 0.1)
    for number in range(2 * REGISTRIES_MAXIMUM):
        metrics.upstream_answered(f"r{number}.example", 200, 0.1)
        metrics.upstream_failed(f"r{number}.example")
        metrics.circuit_opened(f"r{number}.example")
        metrics.rate_limit_remaining(f"r{number}.example", "hub", 1)
    metrics.upstream_answered("ghcr.io", 200, 0.1)
    shown = generate_latest(metrics.registry).decode()
    assert shown.count("akua_upstream_seconds_count{") == REGISTRIES_MAXIMUM + 1
    assert shown.count("akua_upstream_rate_limit_remaining{") == REGISTRIES_MAXIMUM
    assert 'akua_upstream_seconds_count{registry="ghcr.io"} 2.0' in shown
    assert f'akua_upstream_seconds_count{{registry="other"}} {REGISTRIES_MAXIMUM + 1}.0' in shown

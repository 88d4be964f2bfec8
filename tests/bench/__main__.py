"""Runs every measurement, or those that are named: ``python -m tests.bench scale admission``."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = ("pulls", "admission", "audit", "audit_pages", "webhooks", "api_server", "scale", "neighbours")

if __name__ == "__main__":
    chosen = sys.argv[1:] or NAMES
    if unknown := set(chosen) - set(NAMES):
        sys.exit(f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    for number, name in enumerate(chosen):
        print("\n" * bool(number) + f"== {name}", flush=True)
        import_module(f"tests.bench.{name}").main()

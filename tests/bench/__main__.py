"""Runs every measurement."""

from __future__ import annotations

from tests.bench import pulls

if __name__ == "__main__":
    pulls.main()

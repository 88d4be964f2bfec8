"""Runs every measurement."""

from __future__ import annotations

from tests.bench import admission, audit, pulls

if __name__ == "__main__":
    pulls.main()
    print()
    admission.main()
    print()
    audit.main()

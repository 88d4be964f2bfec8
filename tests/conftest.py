"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# No test asserts a time: under load, hypothesis's 200 ms an example would.
settings.register_profile("akua", deadline=None)
settings.load_profile("akua")

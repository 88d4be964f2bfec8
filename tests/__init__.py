"""Tests mirror the source tree; see CONTRIBUTING.md."""

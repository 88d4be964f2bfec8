"""Helpers that tests share: real parts, fixtures, conformance suites. No assertions about products here."""

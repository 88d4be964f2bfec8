"""Errors, as people read them."""

from __future__ import annotations

from registry_access.model.errors import InvalidInput, InvalidManifest, InvalidSettings


def test_errors_name_the_field_and_the_way_out() -> None:
    one = InvalidInput("is missing", field="spec.registry", remedy="write a host")
    assert str(one) == "spec.registry: is missing; write a host"
    assert str(InvalidManifest("is missing", field="spec", source="a.yaml", line=3)) == "a.yaml:3: spec: is missing"
    assert str(InvalidManifest("is missing", source="a.yaml")) == "a.yaml: is missing"
    assert str(InvalidManifest("is missing")) == "is missing"
    assert str(InvalidSettings((one, one))).count("spec.registry") == 2

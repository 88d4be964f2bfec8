"""`akua doctor` finds what is wrong and says how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.unit.cli.conftest import Akua


@pytest.fixture(autouse=True)
def own_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROXY", "WEBHOOK", "OPERATIONS"):
        monkeypatch.setenv(f"AKUA_{name}_ADDRESS", f"127.0.0.1:{free_port()}")


def findings(akua: Akua) -> dict[str, tuple[str, str]]:
    return {item["check"]: (item["finding"], item["detail"]) for item in akua("doctor", "-o", "json").document}


def test_a_fresh_installation_has_nothing_bad(akua: Akua, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKUA_HOST", "localhost")
    ran = akua("doctor")
    assert ran.code == 0
    found = findings(akua)
    assert found["server"][0] == "warning"
    assert found["audit trail"][0] == "warning"
    assert found["host"][0] == "good"


def test_what_is_wrong_is_named_with_the_way_out(akua: Akua, tmp_path: Path) -> None:
    akua("install", "create", "shop", "-p", "storefront")
    akua("install", "create", "kiosk", "-r", "ghcr.io/acme/*")
    akua("install", "revoke", "kiosk")
    akua("credential", "add", "ghcr", "-u", "octocat", stdin="one\n")
    (tmp_path / "state/default/secret-ghcr-v1.yaml").unlink()
    (tmp_path / "state/broken.yaml").write_text(
        "apiVersion: registry.akua.dev/v1alpha1\nkind: Install\nmetadata: {name: x}\nspec: 3\n"
    )
    ran = akua("doctor", "-o", "json")
    assert ran.code == 1
    found = findings(akua)
    assert found["install default/shop"] == ("bad", "product storefront does not exist; create it, or name another")
    assert found["install default/kiosk"][0] == "warning"
    assert found["credential default/ghcr"][0] == "bad"
    assert "broken.yaml" in found["state"][1]


def test_bad_settings_come_first_and_alone(akua: Akua, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKUA_DRAIN", "soon")
    found = akua("doctor", "-o", "json")
    assert found.code == 1
    assert [item["check"] for item in found.document] == ["settings"]


def test_a_certificate_that_cannot_be_read(akua: Akua, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bad.crt").write_text("nonsense")
    monkeypatch.setenv("AKUA_PROXY_TLS_CERTIFICATE", str(tmp_path / "bad.crt"))
    monkeypatch.setenv("AKUA_PROXY_TLS_KEY", str(tmp_path / "bad.key"))
    assert findings(akua)["proxy certificate"][0] == "bad"

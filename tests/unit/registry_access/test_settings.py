"""Settings: parsed once, every problem at once, secrets never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_access.model.errors import InvalidSettings
from registry_access.runtime.http.address import Address
from registry_access.settings import Settings, described, load_settings


def test_without_anything_the_embedded_default() -> None:
    assert load_settings({}) == Settings()
    assert Settings().realm_url == "https://oci.akua.dev"


def test_a_loopback_host_without_tls_is_plain_http() -> None:
    assert Settings(host="127.0.0.1:15000").realm_url == "http://127.0.0.1:15000"
    assert Settings(host="localhost:15000").realm_url == "http://localhost:15000"
    assert Settings(host="127.0.0.1:15000", proxy_tls_certificate="c", proxy_tls_key="k").realm_url == "https://127.0.0.1:15000"
    assert Settings(host="127.0.0.1:15000", external_url="https://x").realm_url == "https://x"
    assert Settings(host="127.0.0.1:15000", state="kubernetes").realm_url == "https://127.0.0.1:15000"
    assert Settings(host="127.0.0.1:15000", state="kubernetes", proxy_plain_http=True).realm_url == "http://127.0.0.1:15000"


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "akua.toml"
    file.write_text(
        'host = "a.example"\nstaleness_limit = "1m"\nupstream_allowed_networks = ["10.0.0.0/8", "fd00::/8"]\ndrain = 5\n'
    )
    settings = load_settings({"AKUA_HOST": "B.example", "HOME": "/root", "AKUA_CONFIG": "x"}, file)
    assert (settings.host, settings.staleness_limit, settings.drain) == ("b.example", 60.0, 5.0)
    assert settings.upstream_allowed_networks == ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("[::1]:0", Address("::1", 0)),
        (":15000", Address("0.0.0.0", 15000)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert load_settings({"AKUA_PROXY_ADDRESS": text}).proxy_address == expected
    assert str(Address("a", 1)) == "a:1"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("UPSTREAM_CA_FILE", "{folder}/missing.pem", "cannot be read: No such file"),
        ("UPSTREAM_CA_FILE", "{folder}", "cannot be read: Is a directory"),
        ("UPSTREAM_CA_FILE", "{folder}/garbage.pem", "holds no PEM certificate"),
        ("UPSTREAM_ALLOWED_NETWORKS", "10.0.0.0/40", "'10.0.0.0/40', which is not a network"),
        ("UPSTREAM_ALLOWED_NETWORKS", "10.0.0.0/8,intranet", "'intranet', which is not a network"),
        ("UPSTREAM_ALLOWED_NETWORKS", "10.1.2.3/8", "write 10.0.0.0/8"),
        ("AUDIT_DSN", "mysql://localhost/akua", "write sqlite:///PATH or postgresql://"),
        ("AUDIT_DSN", "audit.db", "write sqlite:///PATH or postgresql://"),
        ("DRAIN", "9" * 400 + "d", "is longer than ten years"),
        ("UPSTREAM_CONNECT", "0", "is out of range: 0 s; write 0.01 to 300 s"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_message(name: str, value: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "garbage.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(InvalidSettings) as raised:
        load_settings({f"AKUA_{name}": value.format(folder=tmp_path)})
    (problem,) = raised.value.problems
    assert str(problem).startswith(f"AKUA_{name}: ")
    assert says in str(problem)
    assert ";" in str(problem)


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "akua.toml"
    file.write_text('hsot = "x"\n')
    environment = {
        "AKUA_STATE": "etcd",
        "AKUA_HOST": "https://oci.akua.dev",
        "AKUA_EXTERNAL_URL": "oci.akua.dev/path",
        "AKUA_PROXY_ADDRESS": "nowhere",
        "AKUA_WEBHOOK_ADDRESS": "a:99999",
        "AKUA_DRAIN": "soon",
        "AKUA_LOG_LEVEL": "loud",
        "AKUA_PROXY_TLS_CERTIFICATE": "cert.pem",
        "AKUA_PROXY_PLAIN_HTTP": "true",
        "AKUA_WEBHOOK_TLS_KEY": "key.pem",
        "AKUA_CERTIFICATES": "none",
        "AKUA_ACCESS_TOKEN_LIFETIME": "5s",
        "AKUA_STALENES_LIMIT": "5s",
    }
    with pytest.raises(InvalidSettings) as caught:
        load_settings(environment, file)
    said = str(caught.value)
    for word in (
        "did you mean host?",
        "AKUA_STATE: 'etcd' is not a state store",
        "AKUA_HOST",
        "AKUA_EXTERNAL_URL",
        "AKUA_PROXY_ADDRESS",
        "AKUA_WEBHOOK_ADDRESS",
        "AKUA_DRAIN: 'soon' is not a duration",
        "AKUA_LOG_LEVEL",
        "AKUA_PROXY_TLS_KEY: is missing",
        "AKUA_PROXY_PLAIN_HTTP: contradicts AKUA_PROXY_TLS_CERTIFICATE",
        "AKUA_CERTIFICATES: 'none' is neither managed nor external",
        "AKUA_WEBHOOK_TLS_CERTIFICATE: is missing",
        "AKUA_ACCESS_TOKEN_LIFETIME: is out of range",
        "did you mean AKUA_STALENESS_LIMIT?",
    ):
        assert word in said
    assert len(caught.value.problems) == 14


@pytest.mark.parametrize("content", ["a = [", "\x00"])
def test_a_file_that_is_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "akua.toml"
    file.write_text(content)
    with pytest.raises(InvalidSettings, match="TOML"):
        load_settings({}, file)
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load_settings({}, tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"AKUA_WEBHOOK_UNVERIFIED": "refuse"}, "AKUA_WEBHOOK_UNVERIFIED: would refuse every review"),
        ({"AKUA_WEBHOOK_UNVERIFIED": "drop"}, "is not answer or refuse"),
        ({"AKUA_WEBHOOK_CLIENT_NAMES": "kube-apiserver"}, "AKUA_WEBHOOK_CLIENT_CA_FILE: is missing"),
    ],
)
def test_how_api_servers_are_known_makes_sense(given: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidSettings, match=says):
        load_settings(given)


def test_secrets_are_not_shown() -> None:
    settings = load_settings({"AKUA_AUDIT_DSN": "postgresql://u:canary@h/d"})
    assert "canary" not in repr(settings)


def test_every_setting_is_described() -> None:
    rows = described()
    assert all(row.name.startswith("AKUA_") and row.about.endswith(".") for row in rows)
    assert {"AKUA_STATE", "AKUA_AUDIT_DSN", "AKUA_HOST"} <= {row.name for row in rows}


def test_private_registries_are_the_administrator_s_word() -> None:
    assert load_settings({}).permitted_private_registries == ("*",)
    assert load_settings({"AKUA_STATE": "kubernetes"}).permitted_private_registries == ()
    listed = {"AKUA_PRIVATE_REGISTRIES": "registry.corp, 10.0.0.5:5000"}
    for state in ("kubernetes", "directory:x"):
        settings = load_settings(listed | {"AKUA_STATE": state})
        assert settings.permitted_private_registries == ("registry.corp", "10.0.0.5:5000")
    both = load_settings({"AKUA_STATE": "kubernetes", "AKUA_PRIVATE_REGISTRIES": "*"})
    assert both.permitted_private_registries == ("*",)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AKUA_PRIVATE_REGISTRIES", "https://registry.corp"),
        ("AKUA_PRIVATE_REGISTRIES", "registry.corp/path"),
        ("AKUA_PRIVATE_REGISTRIES", "10.0.0.0/8"),
        ("AKUA_UPSTREAM_ALLOWED_NETWORKS", "10.0.0.0/40"),
        ("AKUA_UPSTREAM_ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("AKUA_UPSTREAM_ALLOWED_NETWORKS", "registry.corp"),
    ],
)
def test_what_opens_private_networks_is_read_strictly(variable: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=variable):
        load_settings({variable: value})

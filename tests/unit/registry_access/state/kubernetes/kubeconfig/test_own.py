"""Our own kubeconfig: read where and as kubectl reads it."""

from __future__ import annotations

import base64
import copy
import json
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from registry_access.model.errors import StateUnavailable
from registry_access.state.kubernetes.client.access import ClusterAccess, TokenFile
from registry_access.state.kubernetes.kubeconfig.own import kubeconfig_access

SECRET = "s3cr3t-t0k3n"
AUTHORITY = trustme.CA()
CLIENT = AUTHORITY.issue_cert("client.example")
CONFIG: dict[str, Any] = {
    "current-context": "near",
    "contexts": [{"name": "near", "context": {"cluster": "here", "user": "me"}}],
    "clusters": [{"name": "here", "cluster": {"server": "https://10.0.0.1:6443/k8s/", "tls-server-name": "kubernetes"}}],
    "users": [{"name": "me", "user": {"token": SECRET}}],
}


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def read(folder: Path, change: Callable[[dict[str, Any]], object] = lambda config: None) -> ClusterAccess:
    config = copy.deepcopy(CONFIG)
    change(config)
    (folder / "config").write_text(yaml.safe_dump(config))
    return await kubeconfig_access({"KUBECONFIG": str(folder / "config")})


def cluster(**fields: object) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["clusters"][0]["cluster"].update(fields)


def user(**fields: object) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["users"][0].update(user=fields)


async def test_a_plain_kubeconfig_is_used(tmp_path: Path) -> None:
    access = await read(tmp_path, cluster(**{"proxy-url": "http://proxy:3128"}))
    assert (access.server, access.tls_server_name, access.proxy) == (
        "https://10.0.0.1:6443/k8s",
        "kubernetes",
        "http://proxy:3128",
    )
    assert await access.token() == SECRET
    assert access.tls.verify_mode is ssl.CERT_REQUIRED
    assert SECRET not in repr(access)


@pytest.mark.parametrize("embedded", [True, False])
async def test_certificates_are_read_from_data_and_from_files_beside_the_kubeconfig(tmp_path: Path, embedded: bool) -> None:
    contents = {
        "certificate-authority": AUTHORITY.cert_pem.bytes(),
        "client-certificate": CLIENT.cert_chain_pems[0].bytes(),
        "client-key": CLIENT.private_key_pem.bytes(),
    }
    fields: dict[str, str] = {}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        fields |= {f"{name}-data": encoded(content)} if embedded else {name: name}

    def change(config: dict[str, Any]) -> None:
        config["clusters"][0]["cluster"] |= {key: value for key, value in fields.items() if key.startswith("certificate")}
        config["users"][0]["user"] = {key: value for key, value in fields.items() if key.startswith("client")}

    access = await read(tmp_path, change)
    assert access.tls.get_ca_certs(binary_form=True) == [ssl.PEM_cert_to_DER_cert(AUTHORITY.cert_pem.bytes().decode())]
    assert await access.token() == ""


async def test_the_first_of_several_files_wins_and_the_others_add(tmp_path: Path) -> None:
    first = {"users": CONFIG["users"], "contexts": CONFIG["contexts"]}
    second = CONFIG | {"users": [{"name": "me", "user": {"token": "other"}}]}
    for name, document in (("first", first), ("second", second)):
        (tmp_path / name).write_text(yaml.safe_dump(document))
    names = [str(tmp_path / name) for name in ("first", "absent", "second")]
    access = await kubeconfig_access({"KUBECONFIG": ":".join(names)})
    assert (access.server, await access.token()) == ("https://10.0.0.1:6443/k8s", SECRET)


async def test_a_token_file_is_read_again_when_the_server_refuses(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    access = await read(tmp_path, user(tokenFile="token", token="not this one"))
    assert await access.token() == "one"
    assert isinstance(access.token, TokenFile)
    (tmp_path / "token").write_text("two\n")
    access.token.forget()
    assert await access.token() == "two"


async def test_a_login_command_is_run(tmp_path: Path) -> None:
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "from-exec"}}
    program = tmp_path / "login"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
    program.chmod(stat.S_IRWXU)
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "interactiveMode": "Never"}
    access = await read(tmp_path, user(exec=plugin))
    assert (access.server, await access.token()) == ("https://10.0.0.1:6443/k8s", "from-exec")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config.pop("current-context"), "use-context"),
        (lambda config: config.update({"current-context": "far"}), "no context 'far'"),
        (lambda config: config.update(users=[]), "no user 'me'"),
        (lambda config: config.update(clusters=7), "no cluster 'here'"),
        (cluster(server="http://10.0.0.1"), "https"),
        (cluster(server=7), "server is not text"),
        (cluster(**{"certificate-authority": "absent.crt"}), "absent.crt"),
        (cluster(**{"certificate-authority-data": "%%%"}), "base64"),
        (cluster(**{"certificate-authority-data": encoded(b"not PEM")}), "cannot be used"),
        (user(**{"client-certificate-data": encoded(b"x"), "client-key-data": encoded(SECRET.encode())}), "cannot be used"),
    ],
)
async def test_what_is_wrong_is_said_without_quoting_a_secret(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(StateUnavailable, match=said) as raised:
        await read(tmp_path, change)
    assert SECRET not in str(raised.value)


async def test_text_that_is_no_yaml_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(f"token: [{SECRET}")
    with pytest.raises(StateUnavailable, match="not YAML") as raised:
        await kubeconfig_access({"KUBECONFIG": str(tmp_path / "config")})
    assert SECRET not in str(raised.value)
    with pytest.raises(StateUnavailable, match="set KUBECONFIG"):
        await kubeconfig_access({"KUBECONFIG": str(tmp_path / "absent")})

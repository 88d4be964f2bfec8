"""kubeconfig files with the certificates in them, so that a file can be copied anywhere."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from .certificates import KeyPair


def write_kubeconfig(file: Path, server: str, authority: Path, client: KeyPair) -> Path:
    """Mode 0600. JSON, which every reader of YAML takes."""

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    user = {"client-certificate-data": data(client.certificate), "client-key-data": data(client.key)}
    cluster = {"server": server, "certificate-authority-data": data(authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "akua", "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": "akua", "context": {"cluster": "akua", "user": "admin"}}],
        "current-context": "akua",
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(config, indent=1))
    return file


def server_of(file: Path) -> str:
    """``https://127.0.0.1:port`` of a file that `write_kubeconfig` wrote."""
    return str(json.loads(file.read_text())["clusters"][0]["cluster"]["server"])

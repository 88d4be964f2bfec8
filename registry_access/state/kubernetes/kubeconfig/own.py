"""The kubeconfig of the person or pod that runs us: found where kubectl looks, read as kubectl reads it.

Never for one that came from somebody else, such as one in a Secret: that is foreign.py. Users that log in by `exec` or
`auth-provider` are left to kubernetes_asyncio, whose 700 generated models cost a process 67 MB and a command a second.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from registry_access.model.errors import StateUnavailable
from registry_access.state.kubernetes.client.access import ClusterAccess, TokenFile, load_client_certificate

_PLUGINS = frozenset({"exec", "auth-provider"})


@dataclass(frozen=True, slots=True)
class _Entry:
    """A cluster, user or context, and the folder that its relative paths start from."""

    values: Mapping[str, Any]
    folder: Path


async def kubeconfig_access(environment: Mapping[str, str]) -> ClusterAccess:
    """By the current context of KUBECONFIG's files, merged, or of ~/.kube/config.

    Raises StateUnavailable, which quotes no credential.
    """
    given = [Path(name).expanduser() for name in environment.get("KUBECONFIG", "").split(os.pathsep) if name]
    files = given or [Path.home() / ".kube" / "config"]
    try:
        documents = [(file.parent, yaml.safe_load(file.read_bytes()) or {}) for file in files if file.is_file()]
        if not documents:
            raise ValueError("the file does not exist; set KUBECONFIG")
        chosen = _named(documents, "context", _current_context(documents))
        cluster = _named(documents, "cluster", chosen.values.get("cluster"))
        user = _named(documents, "user", chosen.values["user"]) if chosen.values.get("user") else _Entry({}, Path())
        if _PLUGINS & user.values.keys():
            from registry_access.state.kubernetes.kubeconfig.plugins import plugin_access

            return await plugin_access(files)
        return _access(cluster, user)
    except (OSError, ssl.SSLError, yaml.YAMLError, ValueError, RecursionError) as error:
        shown = "it is not YAML" if isinstance(error, yaml.YAMLError) else error
        raise StateUnavailable(f"the kubeconfig {', '.join(map(str, files))} cannot be used: {shown}") from None


def _current_context(documents: Sequence[tuple[Path, Any]]) -> str:
    found = [document.get("current-context") for _, document in documents if isinstance(document, Mapping)]
    return next((name for name in found if isinstance(name, str) and name), "")


def _named(documents: Sequence[tuple[Path, Any]], kind: str, name: object) -> _Entry:
    """Of several files the first that has the name wins, as with kubectl."""
    if not name:
        raise ValueError("no context is current; run `kubectl config use-context`")
    for folder, document in documents:
        entries = document.get(f"{kind}s") if isinstance(document, Mapping) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping) and entry.get("name") == name and isinstance(entry.get(kind), Mapping):
                return _Entry(entry[kind], folder)
    raise ValueError(f"it has no {kind} {name!r}")


def _access(cluster: _Entry, user: _Entry) -> ClusterAccess:
    server = _text(cluster, "server").rstrip("/")
    if not server.startswith("https://"):
        raise ValueError("its server must be an https URL")
    authority = _content(cluster, "certificate-authority")
    tls = ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
    if cluster.values.get("insecure-skip-tls-verify") is True:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    certificate, key = _content(user, "client-certificate"), _content(user, "client-key")
    if certificate and key:
        load_client_certificate(tls, certificate, key)
    name, proxy = _text(cluster, "tls-server-name") or None, _text(cluster, "proxy-url") or None
    if file := _text(user, "tokenFile"):
        return ClusterAccess(server, tls, TokenFile(user.folder / Path(file).expanduser()), name, proxy)
    token = _text(user, "token")

    async def bearer() -> str:
        return token

    return ClusterAccess(server, tls, bearer, name, proxy)


def _content(entry: _Entry, name: str) -> bytes:
    """What stands below ``name-data`` in base64, or is in the file ``name``; empty when neither is there."""
    if data := _text(entry, f"{name}-data"):
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error:
            raise ValueError(f"{name}-data is not base64") from None
    file = _text(entry, name)
    return (entry.folder / Path(file).expanduser()).read_bytes() if file else b""


def _text(entry: _Entry, name: str) -> str:
    value = entry.values.get(name) or ""
    if not isinstance(value, str):
        raise ValueError(f"{name} is not text")
    return value

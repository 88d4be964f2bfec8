"""Upstream registry hosts: their normal form, and the path segment that stands for one behind the proxy.

A repository name cannot contain ``:``, so a host with a port is written ``name_5000``. That is reversible because a host name
has no underscore; ``name-5000`` would be ambiguous (reference: distribution-spec, "Pulling manifests", <name>).
"""

from __future__ import annotations

import re

from registry_access.model.errors import InvalidRegistryHost

DOCKER_HUB = "docker.io"
_DOCKER_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_HOST = re.compile(rf"(?:{_NAME}|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?", re.ASCII)
_LOWER_NAME = _NAME.replace("a-zA-Z", "a-z")
_SEGMENT = re.compile(rf"(?P<name>{_LOWER_NAME})(?:_(?P<port>[0-9]{{1,5}}))?", re.ASCII)
_NAMED_HOST = re.compile(rf"(?P<name>{_LOWER_NAME})(?::(?P<port>[0-9]{{1,5}}))?", re.ASCII)
MAXIMUM_PORT = 65535
_DEFAULT_PORT = "443"


def is_registry_host(text: str) -> bool:
    """Whether `text` is ``host[:port]`` by distribution's domain grammar (a name, an IPv4 address or ``[IPv6]``)."""
    return _HOST.fullmatch(text) is not None


def normalize_registry_host(text: str) -> str:
    """The one spelling of a registry's host: lower case, no default port (443), Docker Hub's several names as ``docker.io``.

    Clients dial ``ghcr.io``, ``GHCR.io:443`` and ``ghcr.io:0443`` alike. A name of one word keeps its port: ``foo:443/bar`` is at
    host foo, but ``foo/bar`` is Docker Hub's. Raises InvalidRegistryHost.
    """
    if not is_registry_host(text):
        raise InvalidRegistryHost(
            "not a registry host",
            field="registry",
            remedy="write host[:port] without a scheme or a path, such as ghcr.io or registry.example.com:5000",
        )
    name, port = _split_port(text.lower())
    implied = port == _DEFAULT_PORT and ("." in name or name.startswith("[") or name == "localhost")
    host = name if not port or implied else f"{name}:{port}"
    return DOCKER_HUB if host in _DOCKER_HUB_NAMES else host


def same_registry(one: str, other: str) -> bool:
    """Whether two spellings name one registry. What is not a registry host is the same as nothing."""
    return one == other or (
        is_registry_host(one) and is_registry_host(other) and normalize_registry_host(one) == normalize_registry_host(other)
    )


def _split_port(host: str) -> tuple[str, str]:
    """Name and port without leading zeros ("0" stays); port "" when none is written. Colons of ``[IPv6]`` are not ports."""
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        return host, ""
    return name, port.lstrip("0") or "0"


def host_to_segment(host: str) -> str | None:
    """The path segment for a normalized `host`: ``name:5000`` as ``name_5000``; None where none can be written (IPv6)."""
    match = _NAMED_HOST.fullmatch(host)
    if match is None or not _is_port(match["port"]):
        return None
    return f"{match['name']}_{match['port']}" if match["port"] else match["name"]


def segment_to_host(segment: str) -> str:
    """The exact inverse of `host_to_segment`. Raises InvalidRegistryHost on what it cannot have given."""
    match = _SEGMENT.fullmatch(segment)
    if match is None or not _is_port(match["port"]):
        raise InvalidRegistryHost(
            "not a registry host's path segment",
            field="path",
            remedy="write the upstream registry's host in lower case, its port behind an underscore (name_5000)",
        )
    return f"{match['name']}:{match['port']}" if match["port"] else match["name"]


def _is_port(digits: str | None) -> bool:
    return digits is None or (digits[0] != "0" and int(digits) <= MAXIMUM_PORT)

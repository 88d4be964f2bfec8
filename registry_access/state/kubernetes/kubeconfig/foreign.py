"""A kubeconfig that came from somebody else, such as one in a workspace's Secret.

A kubeconfig is code: `exec` runs commands, `auth-provider` calls any URL, file paths read our files, `proxy-url` sees what we
send (kubernetes/kubectl#697). So nothing of it reaches a loader: fields are picked by an allow-list, every other one is
refused by name, and so are servers on loopback and link-local addresses. YAML itself can be an attack: a few aliases or merge
keys expand to gigabytes, so the text is checked before any of it is composed.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import yaml
from aiohttp.abc import AbstractResolver, ResolveResult

from registry_access.model.errors import InvalidInput
from registry_access.runtime.connections.name_lookup import NameLookup, as_result, tenant
from registry_access.runtime.connections.reachable import is_allowed
from registry_access.state.kubernetes.client.access import ClusterAccess, load_client_certificate

_CONFIG = frozenset({"apiVersion", "kind", "clusters", "users", "contexts", "current-context", "preferences"})
_CLUSTER = frozenset({"server", "certificate-authority-data", "tls-server-name"})
_USER = frozenset({"token", "client-certificate-data", "client-key-data"})
_CONTEXT = frozenset({"cluster", "user", "namespace"})
_MAXIMUM = 16 * 1024
_DEPTH_MAXIMUM = 8  # a kubeconfig has five levels
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ANSWERS_MAXIMUM = 32 * 1024 * 1024  # ten thousand namespaces, with a grant and a Secret in each
_REASONS = {
    "exec": "it would run a command here",
    "auth-provider": "it would run a command or call a URL from here",
    "tokenFile": "it would read a file of ours",
    "certificate-authority": "it would read a file of ours; embed it as certificate-authority-data",
    "client-certificate": "it would read a file of ours; embed it as client-certificate-data",
    "client-key": "it would read a file of ours; embed it as client-key-data",
    "insecure-skip-tls-verify": "anybody could then answer for the cluster; give certificate-authority-data",
    "proxy-url": "all that we send would pass through it",
    "username": "API servers take no passwords; give a token",
    "password": "API servers take no passwords; give a token",
}


def foreign_access(config: bytes, *, allow_loopback: bool = False) -> ClusterAccess:
    """The access that a kubeconfig of somebody else's gives, by its current context. `allow_loopback` is for tests.

    Call it in a thread where others would wait. Raises InvalidInput, which names the field and quotes no value.
    """
    if len(config) > _MAXIMUM:
        raise InvalidInput("is larger than 16 KiB", field="kubeconfig", remedy="keep only the one context that is needed")
    try:
        _refuse_expansion(config)
        document = yaml.load(config, Loader=_LOADER)  # noqa: S506 - a safe one
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InvalidInput("is not YAML", field="kubeconfig", remedy="put the kubeconfig's text there as it is") from None
    top = _mapping(document, "kubeconfig", _CONFIG)
    context = _mapping(_named(top, "contexts", "context", top.get("current-context")), "context", _CONTEXT)
    cluster = _mapping(_named(top, "clusters", "cluster", context.get("cluster")), "cluster", _CLUSTER)
    user = _mapping(_named(top, "users", "user", context.get("user")), "user", _USER)
    server = _server(_text(cluster, "cluster", "server"), allow_loopback)
    token = _text(user, "user", "token", default="")
    if token and not (token.isascii() and token.isprintable()):
        raise InvalidInput("holds characters that no token has", field="user.token")
    if not token and "client-certificate-data" not in user:
        raise InvalidInput("has no credentials", field="user", remedy="give a token, or a client certificate and its key")

    async def bearer() -> str:
        return token

    name = _text(cluster, "cluster", "tls-server-name", default="") or None
    tls = _tls(cluster, user)
    resolver = None if allow_loopback else _CheckedResolver(_names())
    return ClusterAccess(server, tls, bearer, name, resolver=resolver, answers_maximum=_ANSWERS_MAXIMUM)


def _refuse_expansion(config: bytes) -> None:
    """Raises InvalidInput for what expands to more than its text, or nests deeply; YAMLError for what is not YAML."""
    depth = 0
    for event in yaml.parse(config, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise InvalidInput("has an anchor or an alias", field="kubeconfig", remedy="write out what it stands for")
        if isinstance(event, yaml.ScalarEvent) and event.value == "<<":
            raise InvalidInput("has a merge key", field="kubeconfig", remedy="write out what it merges")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEPTH_MAXIMUM:
            raise InvalidInput("is nested too deeply", field="kubeconfig", remedy="put the kubeconfig's text there as it is")


@cache
def _names() -> NameLookup:
    return NameLookup()


class _CheckedResolver(AbstractResolver):
    """A name that resolves to an address that may not be reached is refused, at every connection (DNS rebinding).

    Made while `tenant` is the workspace that brought the kubeconfig: dead names of one must not keep others' from being resolved.
    """

    def __init__(self, names: NameLookup) -> None:
        self._names = names
        self._whose = tenant.get()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        before = tenant.set(self._whose)
        try:
            found = await self._names.addresses(host)
        finally:
            tenant.reset(before)
        if not all(_may_be_reached(address) for address in found):
            raise OSError(f"{host} resolves to a loopback or link-local address")
        return [as_result(host, address, port) for address in found]

    async def close(self) -> None:
        """Nothing is held."""


def _mapping(value: object, field: str, allowed: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput("is not a mapping", field=field)
    for name in value:
        if name not in allowed:
            reason = _REASONS.get(str(name), f"known here: {', '.join(sorted(allowed))}")
            raise InvalidInput(f"{str(name)[:64]!r} is refused", field=field, remedy=reason)
    return value


def _named(top: Mapping[str, Any], plural: str, singular: str, name: object) -> object:
    entries = top.get(plural)
    if isinstance(entries, Sequence) and not isinstance(entries, str) and isinstance(name, str):
        for entry in entries:
            if isinstance(entry, Mapping) and entry.get("name") == name:
                return entry.get(singular)
    raise InvalidInput(f"has no {singular} of the name that is asked for", field=plural, remedy="set current-context")


def _text(values: Mapping[str, Any], where: str, name: str, default: str | None = None) -> str:
    value = values.get(name, default)
    if not isinstance(value, str) or (not value and default is None):
        raise InvalidInput("is missing or not text", field=f"{where}.{name}")
    return value


def _data(values: Mapping[str, Any], where: str, name: str) -> bytes:
    try:
        return base64.b64decode(_text(values, where, name), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("is not base64", field=f"{where}.{name}") from None


def _server(text: str, allow_loopback: bool) -> str:
    field = "cluster.server"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        raise InvalidInput("is not a URL", field=field, remedy="write https://host:port") from None
    if parts.scheme != "https" or not host or not text.isascii():
        raise InvalidInput("must be an https URL", field=field, remedy="write https://host:port")
    if parts.username is not None or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise InvalidInput("has more than scheme, host and port", field=field, remedy="write https://host:port")
    if not allow_loopback and not _may_be_reached(host):
        raise InvalidInput("is a loopback, link-local or reserved address", field=field, remedy="name the cluster's own address")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _may_be_reached(host: str) -> bool:
    host = host.rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # Names that some resolvers read as addresses (0x7f.1, 2130706433) begin their last label with a digit.
        return not host.rpartition(".")[2][:1].isdigit()
    # Clusters are at private addresses as a rule. This machine and metadata services, in whatever notation, are none.
    return is_allowed(str(address), private=True, loopback=False)


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    try:
        if "certificate-authority-data" in cluster:
            authority = _data(cluster, "cluster", "certificate-authority-data").decode("ascii")
            context = ssl.create_default_context(cadata=authority)
        else:
            context = ssl.create_default_context()
    except (ssl.SSLError, ValueError):
        raise InvalidInput("holds no PEM certificate", field="cluster.certificate-authority-data") from None
    if "client-certificate-data" in user:
        pair = _data(user, "user", "client-certificate-data"), _data(user, "user", "client-key-data")
        try:
            load_client_certificate(context, *pair)
        except (ssl.SSLError, OSError, ValueError):
            raise InvalidInput("is not a PEM certificate with its key", field="user.client-certificate-data") from None
    return context

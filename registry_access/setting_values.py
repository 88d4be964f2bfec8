"""The values that settings take: each parsed from text, or refused with what to write instead."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import ip_network
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates

from registry_access.model.errors import InvalidInput
from registry_access.model.names.registry_host import is_registry_host, normalize_registry_host
from registry_access.runtime.http.address import Address
from registry_access.runtime.http.forwarded import Network

ANY, AUTO = "*", "auto"
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[^:\[\]]*):(?P<port>[0-9]{1,5})", re.ASCII)
_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h|d)?", re.ASCII)
_SIZE = re.compile(r"(?P<number>[0-9]{1,12})(?P<unit>KiB|MiB|GiB|TiB)?", re.ASCII)
_SIZES = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_LONGEST = 3650 * 86400.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}


def text(value: str) -> str:
    return value


def host(value: str) -> str:
    if not is_registry_host(value):
        raise InvalidInput("is not host[:port]", remedy="write a name without scheme or path, such as oci.akua.dev")
    return normalize_registry_host(value)


def url(value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s?#@]+", value):
        raise InvalidInput("is not an http or https URL without a path", remedy="write it as https://oci.akua.dev")
    return value


def address(value: str) -> Address:
    match = _ADDRESS.fullmatch(value)
    if match is None or int(match["port"]) > 65535:
        raise InvalidInput("is not an address:port", remedy="write it as 127.0.0.1:15000 (port 0: any free one)")
    return Address(match["host"].strip("[]") or "0.0.0.0", int(match["port"]))  # noqa: S104 - ":15000" asks for it


def duration(value: str) -> float:
    match = _DURATION.fullmatch(value)
    if match is None:
        raise InvalidInput("is not a duration", remedy="write a number with ms, s, m, h or d, such as 15s or 30d")
    seconds = float(match["number"]) * _UNITS[match["unit"]]
    if seconds > _LONGEST:
        raise InvalidInput("is longer than ten years", remedy="write a shorter one, such as 15s or 30d")
    return seconds


def count(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", value, re.ASCII):
        raise InvalidInput("is not a whole number", remedy="write a number such as 256")
    return int(value)


def size(value: str) -> int:
    match = _SIZE.fullmatch(value)
    if match is None:
        raise InvalidInput("is not a size", remedy="write bytes, or a number with KiB, MiB, GiB or TiB, such as 32MiB")
    return int(match["number"]) * _SIZES[match["unit"]]


def proxy_networks(value: str) -> tuple[Network, ...]:
    found = []
    for word in words(value):
        try:
            found.append(ip_network(word, strict=False))
        except ValueError:
            raise InvalidInput(f"{word!r} is not a network", remedy="write CIDRs such as 10.0.0.0/8,fd00::/8") from None
    return tuple(found)


def rate(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value, re.ASCII):
        raise InvalidInput("is not a number a second", remedy="write one such as 0.5 or 10")
    return float(value)


def flag(value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise InvalidInput("is neither true nor false", remedy="write true or false")
    return value.lower() in ("true", "1")


def level(value: str) -> str:
    if value.lower() not in ("debug", "info", "warning", "error"):
        raise InvalidInput("is not a log level", remedy="write debug, info, warning or error")
    return value.lower()


def state_location(value: str) -> str:
    if value != "kubernetes" and not re.fullmatch(r"directory:.+", value):
        raise InvalidInput("is not a state store", remedy="write directory:PATH or kubernetes")
    return value


def certificates(value: str) -> str:
    if value not in ("managed", "external"):
        raise InvalidInput("is neither managed nor external", remedy="write managed, or external if cert-manager issues them")
    return value


def target_namespaces(value: str) -> str:
    if value not in ("any", "annotated"):
        raise InvalidInput("is neither any nor annotated", remedy="write any, or annotated if namespaces must name workspaces")
    return value


def networks(value: str) -> tuple[str, ...]:
    found = words(value)
    for word in found:
        try:
            meant = ipaddress.ip_network(word, strict=False)
        except ValueError:
            raise InvalidInput(
                f"has {word!r}, which is not a network", remedy="write it as 10.20.0.0/16 or fd00:1::/64"
            ) from None
        if ipaddress.ip_interface(word).ip != meant.network_address:
            raise InvalidInput(f"has {word!r}, an address within a network", remedy=f"write {meant}")
    return found


def pem_file(value: str) -> str:
    """The name of a file with certificates, "" for none."""
    if not value:
        return value
    try:
        found = load_pem_x509_certificates(Path(value).read_bytes())
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", remedy="name a PEM file that this process may read") from None
    except ValueError:
        found = []
    if not found:
        raise InvalidInput("holds no PEM certificate", remedy="put the CA's certificates there, each with BEGIN CERTIFICATE")
    return value


def unverified(value: str) -> str:
    if value not in ("answer", "refuse"):
        raise InvalidInput("is not answer or refuse", remedy="write answer, or refuse if every API server presents a credential")
    return value


def audit_location(value: str) -> str:
    if not re.match(r"(sqlite:///.|postgres(ql)?(\+[a-z0-9]+)?://.)", value):
        raise InvalidInput("is not an audit trail DSN", remedy="write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")
    return value


def words(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def private_registries(value: str) -> tuple[str, ...]:
    for word in words(value):
        if word not in (ANY, AUTO) and not is_registry_host(word):
            raise InvalidInput(f"has {word!r}, which is not host[:port]", remedy="write registries as credentials do, or *")
    return words(value)

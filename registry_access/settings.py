"""Settings: one table, read once from environment and file, every problem reported together before anything starts."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from registry_access.model.errors import InvalidInput, InvalidSettings
from registry_access.runtime.http.address import Address
from registry_access.runtime.http.forwarded import Network
from registry_access.setting_values import (
    ANY,
    AUTO,
    address,
    audit_location,
    certificates,
    count,
    duration,
    flag,
    host,
    level,
    networks,
    pem_file,
    private_registries,
    proxy_networks,
    rate,
    size,
    state_location,
    target_namespaces,
    text,
    unverified,
    url,
    words,
)

PREFIX = "AKUA_"
_CONNECTION_BOUNDS = (
    ("header_deadline", 1, 300),
    ("body_deadline", 1, 300),
    ("idle_deadline", 1, 3600),
    ("stall_deadline", 1, 3600),
    ("connections", 16, 1_000_000),
)


_PROXY, _WEBHOOK, _OPERATIONS = Address("127.0.0.1", 15000), Address("127.0.0.1", 15443), Address("127.0.0.1", 15090)


def _setting(default: Any, parse: Callable[[str], Any], about: str, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"parse": parse, "about": about, "secret": secret})


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting; times in seconds. The environment name of a field is ``AKUA_`` and its name in upper case."""

    state: str = _setting("directory:.akua/state", state_location, "Where resources live: directory:PATH or kubernetes.")
    audit_dsn: str = _setting(
        "sqlite:///.akua/audit.db", audit_location, "The audit trail: sqlite:///PATH or postgresql://...", secret=True
    )
    audit_owner_dsn: str = _setting(
        "",
        text,
        "The same PostgreSQL database, as the role that owns the tables and migrates them. Default: AKUA_AUDIT_DSN.",
        secret=True,
    )
    audit_writer: str = _setting(
        "local", text, "The name of this process in the audit trail. Each start adds a suffix and begins a new chain."
    )
    audit_capacity: int = _setting(
        0, size, "The size that a PostgreSQL audit database may reach, such as 50GiB. 0: unknown, no warning."
    )
    audit_install_rate: float = _setting(
        0.5,
        rate,
        "Refusals of one install recorded individually per second, after its first 100. Further ones share a row with a count.",
    )
    audit_stranger_rate: float = _setting(
        10.0, rate, "Refusals of all unknown callers recorded individually per second, after the first 200."
    )
    audit_admission_rate: float = _setting(
        10.0, rate, "Admissions of one namespace recorded individually per second, after the first 1,000."
    )
    pull_install_rate: float = _setting(
        200.0, rate, "Pulls (requests) per second of one install, in each proxy. Bursts may be 20 times as large. 0: no limit."
    )
    pull_workspace_rate: float = _setting(
        1000.0, rate, "Pulls per second of all installs of one workspace together, in each proxy. 0: no limit."
    )
    pull_install_day: int = _setting(
        500_000, count, "Pulls per day of one install, in each proxy, refilled steadily. Each writes two records. 0: no limit."
    )
    pull_workspace_day: int = _setting(
        1_000_000, count, "Pulls per day of all installs of one workspace together, in each proxy. 0: no limit."
    )
    host: str = _setting("oci.akua.dev", host, "The proxy's host[:port] in image names.")
    external_url: str = _setting(
        "",
        url,
        "The proxy's URL for clients and its token endpoint. Default: https://AKUA_HOST (http:// for loopback).",
    )
    proxy_address: Address = _setting(_PROXY, address, "Where the proxy listens.")
    webhook_address: Address = _setting(_WEBHOOK, address, "Where the admission webhook listens, with TLS.")
    operations_address: Address = _setting(_OPERATIONS, address, "Where /livez, /readyz and /metrics are served.")
    certificates: str = _setting(
        "managed",
        certificates,
        "In a cluster, who writes the serving certificates' Secrets: managed (the leader) or external (such as cert-manager).",
    )
    proxy_plain_http: bool = _setting(
        False,
        flag,
        "In a cluster, serve plain HTTP behind an ingress that terminates TLS, instead of using Secret akua-proxy-tls.",
    )
    proxy_tls_certificate: str = _setting(
        "", text, "PEM file with the proxy's certificate. Default: Secret akua-proxy-tls in a cluster, else plain HTTP."
    )
    proxy_tls_key: str = _setting("", text, "PEM file with the proxy's key.")
    webhook_tls_certificate: str = _setting(
        "",
        text,
        "PEM file with the webhook's certificate. Default: Secret akua-webhook-tls in a cluster, else one in .akua/tls.",
    )
    webhook_tls_key: str = _setting("", text, "PEM file with the webhook's key.")
    webhook_client_ca_file: str = _setting(
        "", pem_file, "PEM file with the CA of the client certificates that API servers present to the webhook."
    )
    webhook_client_names: tuple[str, ...] = _setting(
        (), words, "Common or DNS names (comma-separated) accepted in those certificates. Default: any."
    )
    webhook_token_file: str = _setting(
        "", text, "File with the bearer tokens, one per line, that API servers present to the webhook."
    )
    webhook_unverified: str = _setting(
        "answer",
        unverified,
        "If one of the two is set, what to do with reviews that have no credential: answer (unrecorded), or refuse.",
    )
    staleness_limit: float = _setting(15.0, duration, "Refuse pulls when the state has not been proven current for this long.")
    install_token_lifetime: float = _setting(30 * 86400.0, duration, "How long an install token is valid.")
    access_token_lifetime: float = _setting(300.0, duration, "How long an access token is valid; 60s to 1h.")
    drain: float = _setting(30.0, duration, "How long streams may continue after SIGTERM.")
    header_deadline: float = _setting(
        10.0, duration, "How long a client may take for the TLS handshake, and again for a request's headers."
    )
    body_deadline: float = _setting(10.0, duration, "How long a client of the proxy may take to send a request's body.")
    idle_deadline: float = _setting(75.0, duration, "How long a connection may stay open between two requests.")
    stall_deadline: float = _setting(
        120.0, duration, "How long a client may take to receive 64 KiB of a response, or what is left of it."
    )
    connections: int = _setting(2048, count, "How many connections the proxy and the webhook each accept at once.")
    connections_per_address: int = _setting(
        256, count, "How many connections without a verified client one address (IPv6: one /64) may hold. 0: no limit."
    )
    connections_per_install: int = _setting(
        512, count, "How many connections of one install are kept when the listener is full. 0: all of them."
    )
    admission_held_bytes: int = _setting(
        32 * 1024 * 1024,
        size,
        "How many bytes of incomplete admission reviews the webhook holds at once; at least 8MiB.",
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        (),
        proxy_networks,
        "Load balancers (CIDR, comma-separated) whose X-Forwarded-For and Forwarded headers are trusted.",
    )
    upstream_connect: float = _setting(10.0, duration, "How long a connection to an upstream may take.")
    upstream_headers: float = _setting(60.0, duration, "How long an upstream may take to begin its response.")
    upstream_login: float = _setting(15.0, duration, "How long a login to an upstream or its token service may take in total.")
    upstream_idle: float = _setting(30.0, duration, "How long an upstream may be silent in the middle of a body.")
    upstream_circuit_failures: int = _setting(
        5,
        count,
        "Consecutive failures after which a registry is not contacted for a while with the same credential. 0: never stop.",
    )
    upstream_circuit_time: float = _setting(10.0, duration, "How long such a registry is not contacted.")
    upstream_allowed_networks: tuple[str, ...] = _setting(
        (), networks, "Private networks (CIDR, comma-separated) that any upstream and its storage may be in."
    )
    private_registries: tuple[str, ...] = _setting(
        (AUTO,),
        private_registries,
        "Registries (host[:port], comma-separated, * for any) whose credentials may set allowPrivateAddresses and insecure. "
        "auto: any with a directory as state, none in a cluster.",
    )
    upstream_identity_workspaces: tuple[str, ...] = _setting(
        ("*",),
        words,
        "Workspaces (comma-separated, * for any) whose AWS credentials without keys use the proxy's own AWS identity.",
    )
    upstream_ca_file: str = _setting("", pem_file, "PEM file with additional CAs to trust for upstreams.")
    target_namespaces: str = _setting(
        "",
        target_namespaces,
        "Namespaces of their own cluster that installs may target. annotated: only those whose annotation "
        "registry.akua.dev/workspaces names the workspace. any: also those without the annotation. Default: annotated, or any "
        "with a state folder. Reserved namespaces such as kube-system are never targets.",
    )
    workspace_secrets_maximum: int = _setting(
        1048576,
        count,
        "In a cluster, how many bytes of base64 the proxy holds of the Secrets that a workspace's credentials name.",
    )
    containerd_config_path: str = _setting(
        "/etc/containerd/certs.d", text, "containerd's registry configuration folder, to which `akua node-trust` writes."
    )
    log_level: str = _setting("info", level, "debug, info, warning or error.")

    @property
    def in_cluster(self) -> bool:
        """Whether the state is in a cluster; certificates without files then are too."""
        return self.state == "kubernetes"

    @property
    def takes_unannotated(self) -> bool:
        """Whether installs may target namespaces without the annotation. The owner of a state folder owns everything in it."""
        return self.target_namespaces == "any" or (not self.target_namespaces and not self.in_cluster)

    @property
    def permitted_private_registries(self) -> tuple[str, ...]:
        """`private_registries` with auto resolved: the administrator writes a state directory, tenants write to a cluster."""
        return tuple(word for word in self.private_registries if word != AUTO) + (
            (ANY,) if AUTO in self.private_registries and not self.in_cluster else ()
        )

    @property
    def proxy_tls(self) -> bool:
        """Whether the proxy terminates TLS itself."""
        return bool(self.proxy_tls_certificate) or (self.in_cluster and not self.proxy_plain_http)

    @property
    def realm_url(self) -> str:
        """Where clients reach the proxy. Without TLS of our own a loopback name can only mean plain HTTP, as docker takes it."""
        local = self.host.startswith(("127.", "localhost:")) and not self.proxy_tls
        return self.external_url or f"{'http' if local else 'https'}://{self.host}"


def load_settings(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Settings from a TOML `file` and `environment`; the environment wins. Raises InvalidSettings with every problem."""
    problems: list[InvalidInput] = []
    given: dict[str, tuple[str, str]] = {}  # setting -> (where, value)
    known = {item.name: item for item in fields(Settings)}
    if file is not None:
        for name, value in _read_file(file, problems).items():
            given[name] = (f"{name} in {file}", value)
    for variable, value in environment.items():
        if (
            variable.startswith(PREFIX)
            and variable not in ("AKUA_CONFIG", "AKUA_WORKSPACE")
            and not variable.startswith("AKUA_TEST_")
        ):
            given[variable.removeprefix(PREFIX).lower()] = (variable, value)
    values: dict[str, Any] = {}
    for name, (where, value) in given.items():
        item = known.get(name)
        if item is None:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = (
                f"did you mean {near[0] if where.endswith(str(file)) else PREFIX + near[0].upper()}?" if near else "remove it"
            )
            problems.append(InvalidInput("is not a setting", field=where, remedy=remedy))
            continue
        try:
            values[name] = item.metadata["parse"](value)
        except InvalidInput as problem:
            shown = "" if item.metadata["secret"] else f"{value!r} "
            problems.append(InvalidInput(shown + problem.problem, field=where, remedy=problem.remedy))
    settings = Settings(**values)
    problems.extend(_contradictions(settings))
    if problems:
        raise InvalidSettings(tuple(problems))
    return settings


def _read_file(file: Path, problems: list[InvalidInput]) -> dict[str, str]:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        problems.append(InvalidInput(f"cannot be read: {error.strerror}", field=str(file)))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(InvalidInput(f"is not TOML: {error}", field=str(file)))
    else:
        return {name: ",".join(value) if isinstance(value, list) else _as_text(value) for name, value in content.items()}
    return {}


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _contradictions(settings: Settings) -> list[InvalidInput]:
    problems = []
    for server in ("proxy", "webhook"):
        certificate, key = getattr(settings, f"{server}_tls_certificate"), getattr(settings, f"{server}_tls_key")
        if bool(certificate) is not bool(key):
            missing = f"{server}_tls_{'key' if certificate else 'certificate'}"
            problems.append(InvalidInput("is missing", field=PREFIX + missing.upper(), remedy="set both certificate and key"))
    if settings.proxy_plain_http and settings.proxy_tls_certificate:
        problems.append(
            InvalidInput(
                "contradicts AKUA_PROXY_TLS_CERTIFICATE", field=PREFIX + "PROXY_PLAIN_HTTP", remedy="set only one of them"
            )
        )
    api_servers_known = settings.webhook_client_ca_file or settings.webhook_token_file
    if settings.webhook_unverified == "refuse" and not api_servers_known:
        problems.append(
            InvalidInput(
                "would refuse every review",
                field=PREFIX + "WEBHOOK_UNVERIFIED",
                remedy="set AKUA_WEBHOOK_CLIENT_CA_FILE or AKUA_WEBHOOK_TOKEN_FILE too",
            )
        )
    if settings.webhook_client_names and not settings.webhook_client_ca_file:
        problems.append(
            InvalidInput("is missing", field=PREFIX + "WEBHOOK_CLIENT_CA_FILE", remedy="names need the CA that they are of")
        )
    bounds = (
        ("access_token_lifetime", 60, 3600),
        ("install_token_lifetime", 600, 400 * 86400),
        ("staleness_limit", 1, 3600),
        ("admission_held_bytes", 8 * 1024 * 1024, 1024**3),
        ("drain", 0, 86400),
        ("upstream_connect", 0.01, 300),
        ("upstream_headers", 0.01, 3600),
        ("upstream_idle", 0.01, 3600),
        *_CONNECTION_BOUNDS,
    )
    for name, low, high in bounds:
        unit = {"connections": "", "admission_held_bytes": " bytes"}.get(name, " s")
        if not low <= getattr(settings, name) <= high:
            problems.append(
                InvalidInput(
                    f"is out of range: {getattr(settings, name):g}{unit}",
                    field=PREFIX + name.upper(),
                    remedy=f"write {low} to {high}{unit}",
                )
            )
    return problems


@dataclass(frozen=True, slots=True)
class Described:
    """A setting, as shown in the documentation."""

    name: str
    default: str
    about: str


def _length(seconds: float) -> str:
    return f"{seconds / 86400:g}d" if seconds >= 86400 else f"{seconds:g}s"


def described() -> list[Described]:
    """Every setting with its default, for the documentation and `--help`."""
    rows = []
    for item in fields(Settings):
        default = item.default if item.default is not MISSING else ""
        if isinstance(default, tuple):
            shown = ",".join(map(str, default))
        elif isinstance(default, float):
            shown = _length(default) if item.metadata["parse"] is duration else f"{default:g}"
        else:
            shown = str(default)
        rows.append(Described(PREFIX + item.name.upper(), shown, item.metadata["about"]))
    return rows

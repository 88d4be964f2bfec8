"""The objects of an installation, read once, as far as the caller may see them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from control.doctor.cluster.view import DAEMON_SET, DEPLOYMENT, ENDPOINT_SLICE, LEASE, POD, ClusterView, Listing, Lookup
from registry_access.model.certificate_names import CA_CONFIG_MAP, CA_ENTRY
from registry_access.model.errors import StateError
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.settings import Settings
from registry_access.state.kubernetes.client.raw_objects import CONFIG_MAP, MUTATING_WEBHOOKS, SERVICE

PROXY, WEBHOOK, NODE_TRUST = "akua-proxy", "akua-webhook", "akua-node-trust"
SYNC_LEASE = "akua-install-sync"
_SERVICE_LABEL = "kubernetes.io/service-name"
_NAME_LABEL = "app.kubernetes.io/name"


@dataclass(frozen=True, slots=True)
class Installation:
    """`host` is the proxy's name in image references, from the proxy's settings; `url` is where clients reach the proxy.

    `plain_http` means that TLS ends before the proxy, `inside` that we run in a pod of this cluster. `offset` is how many seconds
    the API server's clock is ahead of ours, or None if unknown.
    """

    host: str
    external_url: str = ""
    plain_http: bool = False
    inside: bool = False
    offset: float | None = None
    proxy: Lookup = field(default_factory=Lookup)
    webhook: Lookup = field(default_factory=Lookup)
    node_trust: Lookup = field(default_factory=Lookup)
    service: Lookup = field(default_factory=Lookup)
    ca: Lookup = field(default_factory=Lookup)
    registration: Lookup = field(default_factory=Lookup)
    lease: Lookup = field(default_factory=Lookup)
    endpoints: Mapping[str, Listing] = field(default_factory=dict)
    processes: Mapping[str, Listing] = field(default_factory=dict)  # the pods of each Deployment

    @property
    def url(self) -> str:
        return self.external_url or f"https://{self.host}"

    @property
    def bundle(self) -> str:
        """The PEM bundle of the CA that nodes and the API server must trust; "" if it does not exist."""
        return str(self.ca.at("data", CA_ENTRY) or "")

    @property
    def has_node_trust(self) -> bool:
        return self.node_trust.object is not None

    def pods(self, deployment: Lookup) -> int | None:
        """How many pods of it are ready; None when that cannot be seen."""
        return int(deployment.at("status", "readyReplicas") or 0) if deployment.object is not None else None


async def read_installation(view: ClusterView, settings: Settings, *, inside: bool) -> Installation:
    """Uses the proxy's own settings; `settings` if those are not visible, and in a pod, which has the same ones."""
    proxy, webhook, node_trust, service, ca, registration, lease = await asyncio.gather(
        view.look_up(DEPLOYMENT, SYSTEM_NAMESPACE, PROXY),
        view.look_up(DEPLOYMENT, SYSTEM_NAMESPACE, WEBHOOK),
        view.look_up(DAEMON_SET, NODE_TRUST, NODE_TRUST),
        view.look_up(SERVICE, SYSTEM_NAMESPACE, PROXY),
        view.look_up(CONFIG_MAP, SYSTEM_NAMESPACE, CA_CONFIG_MAP),
        view.look_up(MUTATING_WEBHOOKS, "", WEBHOOK),
        view.look_up(LEASE, SYSTEM_NAMESPACE, SYNC_LEASE),
    )
    slices = await asyncio.gather(*(_endpoints(view, name) for name in (PROXY, WEBHOOK)))
    labelled = (view.list(POD, SYSTEM_NAMESPACE, labels=f"{_NAME_LABEL}={name}") for name in (PROXY, WEBHOOK))
    pods = await asyncio.gather(*labelled)
    deployed = {} if inside else await _environment(view, proxy)
    plain = deployed.get("AKUA_PROXY_PLAIN_HTTP", str(settings.proxy_plain_http))
    return Installation(
        host=deployed.get("AKUA_HOST") or settings.host,
        external_url=deployed.get("AKUA_EXTERNAL_URL", settings.external_url),
        plain_http=plain.lower() in ("true", "1"),
        inside=inside,
        offset=await _offset(view),
        proxy=proxy,
        webhook=webhook,
        node_trust=node_trust,
        service=service,
        ca=ca,
        registration=registration,
        lease=lease,
        endpoints=dict(zip((PROXY, WEBHOOK), slices, strict=True)),
        processes=dict(zip((PROXY, WEBHOOK), pods, strict=True)),
    )


def entries_of(deployment: Lookup) -> Sequence[Mapping[str, Any]]:
    """The `env` of its first container."""
    return _container(deployment).get("env") or ()


async def _environment(view: ClusterView, deployment: Lookup) -> dict[str, str]:
    """What the pods get from ConfigMaps and as plain values, as far as it can be seen; later ones count."""
    names = [(source.get("configMapRef") or {}).get("name") for source in _container(deployment).get("envFrom") or ()]
    looks = await asyncio.gather(*(view.look_up(CONFIG_MAP, SYSTEM_NAMESPACE, name) for name in names if name))
    found = {name: str(value) for look in looks for name, value in (look.at("data") or {}).items()}
    return found | {str(entry.get("name")): str(entry["value"]) for entry in entries_of(deployment) if "value" in entry}


def _container(deployment: Lookup) -> Mapping[str, Any]:
    containers: Sequence[Mapping[str, Any]] = deployment.at("spec", "template", "spec", "containers") or [{}]
    return containers[0]


async def _endpoints(view: ClusterView, service: str) -> Listing:
    return await view.list(ENDPOINT_SLICE, SYSTEM_NAMESPACE, labels=f"{_SERVICE_LABEL}={service}")


async def _offset(view: ClusterView) -> float | None:
    try:
        return await view.api.clock_offset()
    except StateError:
        return None

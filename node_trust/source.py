"""What a node must trust, according to the cluster: the proxy's Service and the CA's ConfigMap, each read by name."""

from __future__ import annotations

from cryptography.x509 import load_pem_x509_certificates

from node_trust.hosts_folder import Trust
from registry_access.model.certificate_names import CA_CONFIG_MAP, CA_ENTRY
from registry_access.model.errors import NotFound, StateUnavailable
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.state.kubernetes.client.raw_objects import CONFIG_MAP, SERVICE, RawKind, RawObject, RawObjects

PROXY_SERVICE = "akua-proxy"
_HTTPS = 443


async def read_trust(objects: RawObjects) -> Trust:
    """Raises StateError if an object is missing, forbidden, unreachable or not filled in yet."""
    service = await _object(objects, SERVICE, PROXY_SERVICE)
    config_map = await _object(objects, CONFIG_MAP, CA_CONFIG_MAP)
    return Trust(server_of(service), bundle_of(config_map))


async def _object(objects: RawObjects, kind: RawKind, name: str) -> RawObject:
    found = await objects.find(kind, SYSTEM_NAMESPACE, name)
    if found is None:
        raise NotFound(f"{kind.kind} {name} does not exist in {SYSTEM_NAMESPACE}; check that the proxy is installed")
    return found


def server_of(service: RawObject) -> str:
    """``https://address[:port]`` of a Service. Raises StateUnavailable if it has none."""
    spec = service.get("spec") or {}
    address = next(iter(spec.get("clusterIPs") or [spec.get("clusterIP") or ""]))
    if address in ("", "None"):
        raise StateUnavailable(f"the Service {PROXY_SERVICE} has no cluster IP; it must not be a headless Service")
    ports = [int(port["port"]) for port in spec.get("ports") or () if port.get("protocol", "TCP") == "TCP"]
    if not ports:
        raise StateUnavailable(f"the Service {PROXY_SERVICE} has no TCP port")
    port = _HTTPS if _HTTPS in ports else ports[0]
    authority = f"[{address}]" if ":" in address else address
    return f"https://{authority}" if port == _HTTPS else f"https://{authority}:{port}"


def bundle_of(config_map: RawObject) -> str:
    """The PEM bundle in a ConfigMap. Raises StateUnavailable when there is none."""
    bundle = str((config_map.get("data") or {}).get(CA_ENTRY) or "")
    try:
        found = load_pem_x509_certificates(bundle.encode())
    except ValueError:
        found = []
    if not found:
        raise StateUnavailable(
            f"the ConfigMap {CA_CONFIG_MAP} has no certificate in {CA_ENTRY}: the webhook writes it when AKUA_CERTIFICATES is "
            "managed; if it is external, put the issuer's CA bundle there"
        )
    return bundle

"""What each process reports through the API server: what it cannot do, and which certificate it serves."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from control.doctor.cluster.installation import PROXY, WEBHOOK, Installation
from control.doctor.cluster.view import ClusterView, raw_kind
from control.doctor.finding import Check, bad, good
from registry_access.model.certificate_names import CERTIFICATE_ENTRY, PROXY_CERTIFICATE, WEBHOOK_CERTIFICATE
from registry_access.model.errors import InvalidManifest, StateError
from registry_access.model.resources import Kind
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.state.kubernetes.client.raw_objects import RawObject

_SECONDS = 3.0
_LOOKED_AT = 10  # pods of each Deployment
_LISTENERS = {PROXY: ("proxy", PROXY_CERTIFICATE), WEBHOOK: ("webhook", WEBHOOK_CERTIFICATE)}
_REMEDIES = {
    "audit": "pulls are refused while they cannot be recorded; free space on its volume, or restore its database",
    "certificate": "put a certificate and its key there, or delete the Secret to get a managed one",
}


@dataclass(frozen=True, slots=True)
class _Process:
    """`said` is the response of /readyz."""

    pod: str
    said: Mapping[str, Any]


async def process_checks(view: ClusterView, installation: Installation) -> list[Check]:
    """One line per Deployment whose pods answer. Pods that do not answer, or that a NetworkPolicy isolates, are covered by the
    checks of the Deployment and its Service.
    """
    checks = []
    for name, (listener, secret) in _LISTENERS.items():
        pods = installation.processes[name].items if name in installation.processes else ()
        answers = await asyncio.gather(*(_ask(view, pod) for pod in pods[:_LOOKED_AT]))
        processes = [answer for answer in answers if answer is not None]
        if processes:
            checks.append(await _judged(view, f"processes {name}", processes, listener, secret))
    return checks


async def _judged(view: ClusterView, check: str, processes: list[_Process], listener: str, secret: str) -> Check:
    for process in processes:
        problems = {**(process.said.get("failures") or {}), **(process.said.get("concerns") or {})}
        for name, problem in problems.items():
            remedy = _REMEDIES.get(name, f"`kubectl -n {SYSTEM_NAMESPACE} logs {process.pod}` shows more")
            return bad(check, f"{process.pod}: {name}: {problem}; {remedy}")
    meant = await _fingerprint(view, secret)
    for process in processes:
        served = str((process.said.get("certificates") or {}).get(listener) or "")
        if meant and served and served != meant:
            problem = f"{process.pod} serves certificate {served[:16]} (SHA-256), but Secret {secret} holds {meant[:16]}"
            return bad(check, f"{problem}; run `kubectl -n {SYSTEM_NAMESPACE} delete pod {process.pod}` to load it")
    plural = "es report that they are" if len(processes) > 1 else " reports that it is"
    return good(check, f"{len(processes)} process{plural} healthy, and serving the intended certificate")


async def _ask(view: ClusterView, pod: RawObject) -> _Process | None:
    name = str((pod.get("metadata") or {}).get("name") or "")
    containers = (pod.get("spec") or {}).get("containers") or ()
    ports = [port for container in containers for port in container.get("ports") or ()]
    port = next((port.get("containerPort") for port in ports if port.get("name") == "operations"), None)
    if not name or port is None:
        return None
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods/{name}:{port}/proxy/readyz"
    try:
        return _Process(name, await view.api.request("GET", path, timeout=_SECONDS))
    except (StateError, InvalidManifest):
        return None


async def _fingerprint(view: ClusterView, secret: str) -> str:
    """SHA-256 of the certificate that a Secret holds, "" when that cannot be seen."""
    look = await view.look_up(raw_kind(Kind.SECRET), SYSTEM_NAMESPACE, secret)
    try:
        pem = base64.b64decode(str(look.at("data", CERTIFICATE_ENTRY) or ""), validate=True)
        return x509.load_pem_x509_certificate(pem).fingerprint(SHA256()).hex()
    except (ValueError, binascii.Error):
        return ""

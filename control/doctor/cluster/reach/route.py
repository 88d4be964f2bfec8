"""Route and trust: does a request that takes the nodes' route reach the proxy, with a certificate that nodes trust?"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from cryptography import x509

from control.doctor.cluster.installation import Installation
from control.doctor.finding import Check, bad, expiry, good, unseen, warning
from node_trust.source import server_of
from registry_access.model.certificate_names import CA_CONFIG_MAP
from registry_access.model.errors import StateUnavailable
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.runtime.failure import why

_SECONDS = 5.0
_INSIDE = f"`kubectl -n {SYSTEM_NAMESPACE} exec deploy/akua-webhook -- akua doctor` looks from within the cluster"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was met at the end of the way. `untrusted` and `unreached` say why there is no more than that."""

    status: int = 0
    challenge: str = ""
    expires: datetime | None = None
    untrusted: str = ""
    unreached: str = ""


async def ask(url: str, *, ca: str = "", namespace: str = "") -> Answer:
    """``GET /v2/`` without credentials. `ca`: a PEM bundle, "" for the system's roots; `namespace`: as a mirror of that name."""
    try:
        context = ssl.create_default_context(cadata=ca or None)
        async with (
            httpx.AsyncClient(verify=context, timeout=_SECONDS, trust_env=False) as client,
            client.stream("GET", f"{url}/v2/", params={"ns": namespace} if namespace else {}) as answer,
        ):
            stream = answer.extensions["network_stream"].get_extra_info("ssl_object")
            certificate = stream.getpeercert(binary_form=True) if stream else None
            return Answer(
                answer.status_code,
                answer.headers.get("WWW-Authenticate", ""),
                x509.load_der_x509_certificate(certificate).not_valid_after_utc if certificate else None,
            )
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        refused = _verification_error(error)
        return Answer(untrusted=refused) if refused else Answer(unreached=why(error))


async def route_checks(installation: Installation, addresses: list[str]) -> list[Check]:
    """Where nodes go: the Service's address where node trust says so, else the name. `addresses`: what the name resolves to.

    Where it cannot be seen which (a pod's account sees little), the Service if that is known.
    """
    unknown = not installation.node_trust.seen and installation.service.object is not None and bool(installation.bundle)
    if installation.has_node_trust or unknown:
        try:
            url = server_of(installation.service.object or {})
        except StateUnavailable as error:
            return [_no_service(installation, str(error))]
        if not installation.bundle:
            return [_no_bundle(installation)]
        return judge_service(url, await ask(url, ca=installation.bundle, namespace=installation.host), installation)
    if not addresses:
        return []  # the name is what is bad, and said so
    answer = await ask(f"https://{installation.host}")
    ours = bool(answer.untrusted and installation.bundle)
    ours = ours and not (await ask(f"https://{installation.host}", ca=installation.bundle)).untrusted
    return judge_name(installation, answer, ours=ours)


def judge_service(url: str, answer: Answer, installation: Installation) -> list[Check]:
    """As a node's containerd that was told the Service's address."""
    if answer.unreached:
        where = "this pod (its NetworkPolicy may not let it)" if installation.inside else "here, which is no node of the cluster"
        remedy = "" if installation.inside else f"; {_INSIDE}"
        return [warning("route", f"{url} cannot be reached from {where}: {answer.unreached}{remedy}")]
    if answer.untrusted and not installation.inside:
        # Addresses of Services mean something in their cluster only; here they may be somebody else's.
        told = f"at {url} is something else, seen from here, which is no node of the cluster ({answer.untrusted})"
        return [warning("route", f"{told}; {_INSIDE}")]
    if answer.untrusted:
        told = f"{url} has a certificate that ConfigMap {CA_CONFIG_MAP} does not vouch for: {answer.untrusted}"
        return [
            good("route", f"{url} is reached"),
            bad("trust", f"{told}; delete Secret akua-proxy-tls for a new one, or correct what issues it"),
        ]
    return [_challenge(url, answer, f'Basic realm="{installation.host}"'), *_expiry(answer)]


def judge_name(installation: Installation, answer: Answer, *, ours: bool) -> list[Check]:
    """As a node that resolves the name itself. `ours`: only our own CA vouches for the certificate."""
    url = f"https://{installation.host}"
    if answer.unreached:
        return [
            bad("route", f"{url} cannot be reached: {answer.unreached}; is the Ingress or LoadBalancer there? docs/install.md")
        ]
    if answer.untrusted:
        told = f"{url} has a certificate that the system's roots do not vouch for: {answer.untrusted}"
        if ours:
            told = f"{url} has a certificate of our own CA, which no node trusts by default"
        remedy = "a public certificate, or manifests/components/node-trust; where your nodes trust a CA of yours, look from one"
        return [good("route", f"{url} is reached"), bad("trust", f"{told}: {remedy}")]
    return [_challenge(url, answer, f'Bearer realm="{installation.url}/token"'), *_expiry(answer)]


def _challenge(url: str, answer: Answer, wanted: str) -> Check:
    if answer.status != 401 or not answer.challenge:
        return bad("route", f"{url}/v2/ answers {answer.status} and no challenge: something else than the proxy is there")
    if not answer.challenge.startswith(wanted):
        return bad(
            "route", f"{url} asks for {answer.challenge!r}, not for {wanted!r}: AKUA_HOST or AKUA_EXTERNAL_URL differs there"
        )
    return good("route", f"{url} asks for a token as it should")


def _expiry(answer: Answer) -> list[Check]:
    remedy = "renew it; one of our own making is renewed by the leader of akua-webhook, see its log"
    return [expiry("trust", "the proxy's certificate", answer.expires, datetime.now(UTC), remedy)] if answer.expires else []


def _no_service(installation: Installation, problem: str) -> Check:
    if not installation.service.seen:
        return unseen("route", installation.service.problem, "the Service akua-proxy cannot be looked at")
    return bad("route", f"{problem}; `kubectl apply -k` the overlay again")


def _no_bundle(installation: Installation) -> Check:
    if not installation.ca.seen:
        return unseen("trust", installation.ca.problem, f"ConfigMap {CA_CONFIG_MAP} cannot be looked at")
    told = f"ConfigMap {CA_CONFIG_MAP} has no certificate: nodes are told nothing"
    return bad("trust", f"{told}; the leader of akua-webhook writes it, or you do where AKUA_CERTIFICATES is external")


def _verification_error(error: BaseException) -> str:
    """Why a certificate was refused, "" when it was something else."""
    step: BaseException | None = error
    while step is not None:
        if isinstance(step, ssl.SSLCertVerificationError):
            return step.verify_message
        step = step.__cause__ or step.__context__
    return ""

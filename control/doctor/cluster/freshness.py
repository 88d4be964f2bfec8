"""Freshness and leadership: does every process prove its watches current, and does one of them lead the install sync?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from control.doctor.cluster.installation import SYNC_LEASE, Installation
from control.doctor.cluster.view import ClusterView, Lookup, raw_kind
from control.doctor.finding import Check, bad, good, unseen, warning
from control.duration import span
from registry_access.model.resources import Kind
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.model.timestamp import parse_rfc3339
from registry_access.state.kubernetes.client.resource_path import PLURALS
from registry_access.state.kubernetes.watch.feed import HEARTBEAT_NAME, HEARTBEAT_PREFIX

_PROXY_WATCHES = frozenset({Kind.NAMESPACE, Kind.REGISTRY_CREDENTIAL, Kind.PRODUCT, Kind.INSTALL})
_WEBHOOK_WATCHES = frozenset({Kind.NAMESPACE, Kind.PRODUCT, Kind.INSTALL, Kind.PULL_GRANT})
_LOGS = f"`kubectl -n {SYSTEM_NAMESPACE} logs -l app.kubernetes.io/part-of=akua-registry-access` shows why"


async def freshness_checks(view: ClusterView, installation: Installation, limit: float, now: float) -> list[Check]:
    """One line per kind. `limit` is how many seconds a proof is valid; `now` is epoch seconds on the cluster's clock."""
    checks = []
    for kind in sorted(_PROXY_WATCHES | _WEBHOOK_WATCHES):
        where = ("", SYSTEM_NAMESPACE) if kind is Kind.NAMESPACE else (SYSTEM_NAMESPACE, HEARTBEAT_NAME)
        look = await view.look_up(raw_kind(kind), *where)
        checks.append(_freshness(kind, look, _expected(kind, installation), limit, now))
    return checks


def leader_check(installation: Installation, now: float) -> Check:
    """`now` is epoch seconds on the cluster's clock."""
    look = installation.lease
    if not look.seen:
        return unseen("leader", look.problem)
    holder = str(look.at("spec", "holderIdentity") or "")
    if not holder:
        return bad(
            "leader", f"nobody holds the Lease {SYNC_LEASE}, so no install is synced and no certificate is rotated; {_LOGS}"
        )
    renewed, lasts = _moment(look.at("spec", "renewTime")), int(look.at("spec", "leaseDurationSeconds") or 15)
    if renewed is None or now - renewed > lasts:
        age = f"{span(now - renewed)} ago" if renewed is not None else "never"
        return bad("leader", f"{holder} last renewed the Lease {SYNC_LEASE} {age}, so no install is synced; {_LOGS}")
    return good("leader", f"{holder}, renewed {span(now - renewed)} ago")


def _expected(kind: Kind, installation: Installation) -> int | None:
    """How many processes watch it; None if that is not visible."""
    watching = ((installation.proxy, _PROXY_WATCHES), (installation.webhook, _WEBHOOK_WATCHES))
    counts = [installation.pods(look) for look, kinds in watching if kind in kinds]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _freshness(kind: Kind, look: Lookup, expected: int | None, limit: float, now: float) -> Check:
    check = f"freshness {PLURALS[kind]}"
    if not look.seen:
        return unseen(check, look.problem)
    ages = sorted(_ages(look.at("metadata", "annotations") or {}, now))
    fresh = [age for age in ages if age <= limit]
    if not fresh:
        last = f"the last proof is {span(ages[0])} old" if ages else "no process has ever proven its watch"
        return bad(check, f"{last}, and pulls are refused after {limit:g} s; {_LOGS}")
    told = f"{len(fresh)} process{'es have' if len(fresh) > 1 else ' has'} proven the watch within {limit:g} s"
    if expected is not None and len(fresh) < expected:
        return warning(check, f"{told}, but {expected} are running; {_LOGS}")
    return good(check, told)


def _ages(annotations: Mapping[str, object], now: float) -> Iterable[float]:
    """Seconds since each process's last heartbeat, on its own clock (written by state/kubernetes/watch/proof.py)."""
    for name, value in annotations.items():
        seconds = str(value).partition("-")[0]
        if name.startswith(HEARTBEAT_PREFIX) and seconds.isdigit():
            yield max(0.0, now - int(seconds))


def _moment(text: object) -> float | None:
    moment = parse_rfc3339(str(text))
    return moment.timestamp() if moment else None

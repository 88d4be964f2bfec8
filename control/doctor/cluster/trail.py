"""The audit trail of a cluster: looked at where its DSN is known, else said where it is."""

from __future__ import annotations

from control.doctor.cluster.installation import Installation, entries_of
from control.doctor.finding import Check, good, unseen, warning
from control.doctor.trail import AUDIT, audit_check
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.settings import Settings

_EXEC = f"kubectl -n {SYSTEM_NAMESPACE} exec deploy/akua-proxy -- akua audit verify"


async def trail_check(settings: Settings, installation: Installation) -> Check:
    """`settings.audit_dsn` as it was set; its default means nothing in a cluster."""
    if settings.audit_dsn != Settings().audit_dsn:
        return await audit_check(settings.audit_dsn, settings.audit_capacity)
    if not installation.proxy.seen:
        return unseen(AUDIT, installation.proxy.problem, f"`{_EXEC}` looks at it; where it is cannot be seen")
    entry = next((item for item in entries_of(installation.proxy) if item.get("name") == "AKUA_AUDIT_DSN"), {})
    secret = (entry.get("valueFrom") or {}).get("secretKeyRef") or {}
    if secret:
        where = f"at the DSN in Secret {secret.get('name')} ({secret.get('key')})"
    elif str(entry.get("value") or "").startswith("sqlite:"):
        where = f"a file in the proxy's pod, {str(entry['value']).removeprefix('sqlite:///')}"
    else:
        return warning(AUDIT, "the Deployment akua-proxy says no AKUA_AUDIT_DSN: its pods keep a trail that ends with them")
    return good(AUDIT, f"is {where}, where `{_EXEC}` looks at it")

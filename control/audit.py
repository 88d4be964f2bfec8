"""Where to find the audit trail when it is not on this machine."""

from __future__ import annotations

from pathlib import Path

from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.settings import Settings

_SQLITE = "sqlite:///"


def where_instead(settings: Settings) -> str:
    """What to do if the trail in `settings` is not on this machine; "" if it can be opened."""
    if not settings.audit_dsn.startswith(_SQLITE) or Path(settings.audit_dsn.removeprefix(_SQLITE)).exists():
        return ""
    if settings.in_cluster:
        return (
            "this cluster's audit trail is not on this machine. An administrator reads it with `kubectl -n "
            f"{SYSTEM_NAMESPACE} exec deploy/akua-proxy -- akua audit list`, or sets AKUA_AUDIT_DSN to its database. A member of "
            "a workspace sees its refusals with `akua audit list --workspace WORKSPACE`, or `kubectl describe install NAME`"
        )
    return "the audit trail does not exist yet; start `akua serve` to create it, or set AKUA_AUDIT_DSN to an existing one"

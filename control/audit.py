"""Where the audit trail is, for a person who looks for it in the wrong place."""

from __future__ import annotations

from pathlib import Path

from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.settings import Settings

_SQLITE = "sqlite:///"


def where_instead(settings: Settings) -> str:
    """What to do where the trail that `settings` name is not on this machine; "" where it can be opened."""
    if not settings.audit_dsn.startswith(_SQLITE) or Path(settings.audit_dsn.removeprefix(_SQLITE)).exists():
        return ""
    if settings.in_cluster:
        return (
            "this cluster's audit trail is not on this machine. An administrator reads it with `kubectl -n "
            f"{SYSTEM_NAMESPACE} exec deploy/akua-proxy -- akua audit list`, or sets AKUA_AUDIT_DSN to its database. A member of "
            "a workspace sees its refusals with `akua audit list --workspace WORKSPACE`, or `kubectl describe install NAME`"
        )
    return "there is no audit trail here yet; `akua serve` makes it, and AKUA_AUDIT_DSN names one elsewhere"

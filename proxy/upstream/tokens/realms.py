"""Which hosts may issue tokens for a registry, that is, may be sent its credential.

A registry names its token service in the challenge. Taking that at its word hands the credential to whoever can answer for the
registry once (CVE-2020-15157, CVE-2026-33540), so the realm's host must be the registry's own, a known pair, or stated on the
credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from proxy.upstream.errors import RealmRefused

KNOWN_REALMS: Mapping[str, tuple[str, ...]] = {
    "docker.io": ("auth.docker.io",),
    "registry.gitlab.com": ("gitlab.com",),
    "gcr.io": ("gcr.io",),
}


def check_realm(
    realm: str, registry: str, *, stated: tuple[str, ...] = (), insecure: bool = False, stated_only: bool = False
) -> str:
    """The realm's URL when its host may issue tokens for `registry` (host[:port]). Raises RealmRefused.

    `stated_only`: the registry was named by a redirect, so that its own host is nobody's word.
    """
    try:
        parts = urlsplit(realm)
        host = (parts.hostname or "").lower()
    except ValueError:
        raise RealmRefused(f"{registry} names a token service that is not a URL") from None
    if parts.scheme not in (("https", "http") if insecure else ("https",)) or not host or parts.username or parts.fragment:
        raise RealmRefused(f"{registry} names a token service that is not an https URL")
    authority = parts.netloc.lower()
    own = registry.partition(":")[0] if ":" in registry and not registry.startswith("[") else registry
    allowed = {*stated} if stated_only else {registry, own, *KNOWN_REALMS.get(registry, ()), *stated}
    if host not in allowed and authority not in allowed:
        raise RealmRefused(
            f"{registry} names {host} as its token service, which is not known to be its own; "
            f"if you trust {host} with this credential, add it to spec.realmHosts"
        )
    return realm

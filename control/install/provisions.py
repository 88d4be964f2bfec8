"""What a cluster needs to pull through an install: its token, and the objects for a cluster that akua cannot reach."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

import orjson

from control.session import Session, opened
from registry_access.model.errors import InvalidInput, InvalidToken, StateError, StateUnavailable
from registry_access.model.install_token import InstallTokenClaims, install_claims
from registry_access.model.resources import Install, Key, Kind, Secret
from webhook.assembly import build_install_sync
from webhook.install_sync.objects.minting import InstallToken, token_in
from webhook.install_sync.objects.ownership import PULL_SECRET_PREFIX
from webhook.metrics import WebhookMetrics

_PULL_SECRETS_ASKED = 20  # target namespaces, one by one


async def install_token(session: Session, name: str) -> InstallToken:
    """The install's token for the proxy: from a pull Secret that the user may read, or else minted as the install sync
    would, which needs an administrator's rights. Raises NotFound, StateError.
    """
    install = session.install(name)
    if session.settings.in_cluster and (held := await _held_token(session, install)):
        return held
    try:
        async with opened(session.settings, session.workspace, provisioned=True) as store:
            parts = await build_install_sync(session.settings, store, WebhookMetrics())
            return parts.reconciler.token(install)
    except StateUnavailable as error:
        targets = ", ".join(target.namespace for target in install.status.targets[:3])
        where = f"Secret {PULL_SECRET_PREFIX}{name} in {targets}" if targets else "the signing keys"
        remedy = "ask a cluster administrator for the right to read it, or for a token"
        problem = f"you may not read {where}, so akua cannot show a token of install {name}"
        raise StateUnavailable(f"{problem}; {remedy} ({error})") from error


async def _held_token(session: Session, install: Install) -> InstallToken | None:
    """The newest token of this install in readable pull Secrets. Only the proxy checks its signature."""
    found: list[InstallToken] = []
    for target in install.status.targets[:_PULL_SECRETS_ASKED]:
        key = Key(Kind.SECRET, target.namespace, f"{PULL_SECRET_PREFIX}{install.metadata.name}")
        try:
            secret = await session.store.read(key)
        except StateError:
            continue
        if isinstance(secret, Secret) and (token := token_in(secret, session.settings.host)):
            claims = _claims(token)
            if claims is not None and _is_current(claims, install):
                found.append(InstallToken(claims, token))
    return max(found, key=lambda item: item.claims.expires_at, default=None)


def _claims(token: str) -> InstallTokenClaims | None:
    try:
        payload = token.split(".")[1]
        return install_claims(orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except (IndexError, ValueError, TypeError, AttributeError, InvalidToken):
        return None


def _is_current(claims: InstallTokenClaims, install: Install) -> bool:
    same = (claims.identity.uid, claims.identity.generation) == (install.metadata.uid, install.token_generation)
    return same and claims.expires_at > time.time()


async def install_bundle(session: Session, name: str) -> list[Mapping[str, Any]]:
    """The install's pull Secrets and pull grants, as manifests. Raises NotFound, InvalidInput, StateError."""
    parts = await build_install_sync(session.settings, session.store, WebhookMetrics())
    objects = parts.reconciler.bundle(session.install(name))
    if not objects:
        raise InvalidInput(f"install {name} has no target namespace", field="spec.targets", remedy="add a target to the install")
    return objects

"""Keeps secret values out of the log."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator

from registry_access.model.audit_event import Operation, Result
from registry_access.model.decision import Gate, Reason
from registry_access.model.occurrence import EventReason
from registry_access.model.resources import Kind, RegistryCredential, Secret
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.model.workspace_secret import SECRET_NAMES, base_of
from registry_access.runtime.logs.redaction import Redactor
from registry_access.state.index import Change, ResourceIndex

logger = logging.getLogger(__name__)
# Words of our own log lines: a secret with such a value would blank them in everybody's log.
_OURS = """
    akua allowed access audit admission answer blob blobs bytes certificate client cluster command connection containerd created
    credential credentials decision default deleted denied detail digest disabled enabled entitled error errors event events
    expired failed freshness gate grant grants heads host image images info install installs kubernetes last latest layer limit
    line list manifest manifests message method namespace namespaces node operation outcome password path pod pods problem product
    products proxy pull pulled pulls reason refused registry repository request response result revoked revoke secret secrets
    served serve server staleness started state status stopped stream streams sync synced synchronized tag tags target time token
    tokens unauthorized unavailable upstream user username value version warning warnings watch webhook workspace workspaces
"""


def ordinary_words() -> frozenset[str]:
    """The words that no secret value may redact."""
    said = (*Gate, *Reason, *Result, *Operation, *EventReason, *Kind)
    parts = (part for word in said for part in (word, *word.split("-")))
    return frozenset(part.casefold() for part in (*parts, *_OURS.split()))


def redact_secrets(index: ResourceIndex, redactor: Redactor) -> None:
    """Redacts the values behind credentials and our own keys from the log for as long as they exist.

    Other Secrets are ignored: otherwise anyone who may write Secrets in a workspace could blank words in everybody's log.
    """
    _RedactedSecrets(index, redactor)


class _RedactedSecrets:
    def __init__(self, index: ResourceIndex, redactor: Redactor) -> None:
        self._index = index
        self._redactor = redactor
        for credential in index.all_credentials():
            self._look_again(credential)
        for secret in index.secrets():
            if secret.metadata.namespace == SYSTEM_NAMESPACE:
                self._learn(secret)
        index.subscribe(self._changed, {Kind.SECRET, Kind.REGISTRY_CREDENTIAL})

    def _changed(self, change: Change) -> None:
        for resource in (change.before, change.after):
            if isinstance(resource, RegistryCredential):
                self._look_again(resource)
        if isinstance(change.after, Secret):
            self._learn(change.after)
        elif change.key.kind is Kind.SECRET:
            self._redactor.forget(change.key)

    def _look_again(self, credential: RegistryCredential) -> None:
        """Checks the Secrets that a credential names or used to name."""
        if credential.secret_name is None:
            return
        for secret in self._index.secrets_behind(credential.workspace, credential.secret_name):
            self._learn(secret)

    def _learn(self, secret: Secret) -> None:
        if not self._redactor.learn(secret.key, self._values(secret)):
            logger.warning("%s has more values than can be redacted from the log", secret.key)

    def _values(self, secret: Secret) -> Iterator[str]:
        ours = secret.metadata.namespace == SYSTEM_NAMESPACE
        if not ours and not self._is_used(secret):
            return
        texts = {name: value.decode(errors="replace") for name, value in secret.data.items() if ours or name in SECRET_NAMES}
        yield from texts.values()
        user, password = secret.data.get("username"), secret.data.get("password")
        if not ours and user and password:
            # As HTTP Basic has it (RFC 7617).
            yield base64.b64encode(user.strip(b"\r\n") + b":" + password.strip(b"\r\n")).decode()

    def _is_used(self, secret: Secret) -> bool:
        names = (secret.metadata.name, base_of(secret))
        return any(self._index.is_named(secret.metadata.namespace, name) for name in names)

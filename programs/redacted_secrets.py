"""Secret values kept out of the log."""

from __future__ import annotations

from registry_access.model.resources import Kind, Secret
from registry_access.runtime.redaction import Redactor
from registry_access.state.index import Change, ResourceIndex
from webhook.install_sync.ownership import owner_of


def redact_secrets(index: ResourceIndex, redactor: Redactor) -> None:
    """Teaches the log every secret value that the index holds, now and later.

    But for pull Secrets: what is in them is known by its looks (a signed token), and every line would be searched for thousands.
    """

    def learn(secret: Secret) -> None:
        if owner_of(secret) is not None:
            return
        redactor.add(value.decode() for value in secret.data.values() if value.isascii())

    def changed(change: Change) -> None:
        if isinstance(change.after, Secret):
            learn(change.after)

    for secret in index.secrets():
        learn(secret)
    index.subscribe(changed, {Kind.SECRET})

"""A serving certificate from a Secret in the index: written where the server loads it, and loaded at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from programs.local_authority import LocalAuthority
from registry_access.model.certificate_names import CERTIFICATE_ENTRY, KEY_ENTRY
from registry_access.model.errors import InvalidInput
from registry_access.model.resources import Kind, Secret
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.runtime.tls.certificate_authority import CertificateAuthority, KeyPair, belong_together
from registry_access.state.index import Change, ResourceIndex, Unsubscribe

logger = logging.getLogger(__name__)


class SecretCertificate:
    """`server` is the listener's name, `folder` private to this process.

    Until the Secret exists, an untrusted temporary certificate takes its place and `problem` reports it. A Secret
    that is damaged or deleted later changes nothing: the last good certificate stays in use.
    """

    def __init__(self, server: str, secret: str, folder: Path) -> None:
        """Raises InvalidInput when the folder cannot be used."""
        self._server = server
        self._secret = secret
        self._folder = LocalAuthority(folder)
        self._loaded: KeyPair | None = None
        self._problem = f"Secret {SYSTEM_NAMESPACE}/{secret} does not exist yet"
        temporary = CertificateAuthority.new("Akua temporary CA", 1).issue(("localhost",), days=1)
        try:
            self.files = self._folder.write(server, temporary)
        except OSError as error:
            remedy = "choose another --folder, or name certificate files in the settings"
            raise InvalidInput(f"cannot be used: {error.strerror}", field=str(folder), remedy=remedy) from error

    def problem(self) -> str:
        """Why there is no certificate to serve; empty once there is one."""
        return "" if self._loaded else self._problem

    def concern(self) -> str:
        """Why an older certificate is served than the Secret holds; empty if they are the same."""
        return f"{self._problem}; the previous one is still served" if self._loaded and self._problem else ""

    def follow(self, index: ResourceIndex, load: Callable[[str], None]) -> Unsubscribe:
        """Reads the certificate now, if it exists, and on every change. Calls `load` with the server's name."""

        def changed(change: Change) -> None:
            if (change.key.namespace, change.key.name) == (SYSTEM_NAMESPACE, self._secret):
                self._take(change.after, load)

        self._take(index.secret(SYSTEM_NAMESPACE, self._secret), load)
        return index.subscribe(changed, {Kind.SECRET})

    def _take(self, secret: object, load: Callable[[str], None]) -> None:
        if not isinstance(secret, Secret):
            return
        pair = KeyPair(secret.data.get(CERTIFICATE_ENTRY, b""), secret.data.get(KEY_ENTRY, b""))
        if pair == self._loaded:
            self._problem = ""
            return
        try:
            if not belong_together(pair):
                raise ValueError("it holds no certificate with its key")
            self._folder.write(self._server, pair)
        except (OSError, ValueError) as error:
            self._problem = f"Secret {SYSTEM_NAMESPACE}/{self._secret} cannot be used: {error}"
            logger.error("the %s certificate was not replaced: %s", self._server, self._problem)
            return
        self._loaded, self._problem = pair, ""
        load(self._server)

"""Which admission reviews come from an API server: by a client certificate, or a token, of its AdmissionConfiguration.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#authenticate-apiservers
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from registry_access.model.errors import InvalidInput
from registry_access.runtime.http.request_sender import Sender

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ApiServers:
    """`certificates`: a verified client certificate counts, with `names` only one that has one of them.

    `token_file` holds accepted tokens, one a line, so that a token is replaced by adding the new one first. It is read again when
    it changes; while it cannot be read, no token counts. With `refuses` a review of anybody else is not answered.
    """

    certificates: bool = False
    names: Collection[str] = ()
    token_file: Path | None = None
    refuses: bool = False
    _tokens: tuple[bytes, ...] = field(default=(), init=False, repr=False)
    _read: tuple[int, int, int] | None = field(default=None, init=False)
    _problem: str = field(default="", init=False)

    def check(self) -> None:
        """Raises InvalidInput when there is a token file and no token in it."""
        if self.token_file is not None and not self._current_tokens(self.token_file):
            raise InvalidInput(
                f"cannot be read: {self._problem}" if self._problem else "is empty",
                field="AKUA_WEBHOOK_TOKEN_FILE",
                remedy="put a long random token there, one a line, where this process may read it",
            )

    def sent(self, sender: Sender) -> bool:
        """Whether the credential that `sender` showed is an API server's."""
        if self.certificates and sender.names is not None and (not self.names or not sender.names.isdisjoint(self.names)):
            return True
        scheme, _, token = sender.authorization.partition(b" ")
        if self.token_file is None or scheme.lower() != b"bearer":
            return False
        given, matched = token.strip(), False
        for known in self._current_tokens(self.token_file):
            matched |= hmac.compare_digest(known, given)
        return matched

    def _current_tokens(self, file: Path) -> tuple[bytes, ...]:
        try:
            found = file.stat()
            if (stamp := (found.st_ino, found.st_mtime_ns, found.st_size)) != self._read:
                self._tokens = tuple(line.strip() for line in file.read_bytes().splitlines() if line.strip())
                self._read, self._problem = stamp, ""
        except OSError as error:
            self._tokens, self._read = (), None
            if (problem := error.strerror or type(error).__name__) != self._problem:
                logger.error("AKUA_WEBHOOK_TOKEN_FILE cannot be read, so no review by token is recorded: %s", problem)
            self._problem = problem
        return self._tokens

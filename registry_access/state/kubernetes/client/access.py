"""How an API server is reached, and how a pod reaches its own."""

from __future__ import annotations

import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp.abc import AbstractResolver

from registry_access.model.errors import StateUnavailable

SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_SECONDS = 60.0


async def no_token() -> str:
    """For clients that are known by their certificate."""
    return ""


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """`server` is ``https://host:port``. `token` gives the bearer token of this moment, "" for none.

    `resolver`: None for the system's; one that checks addresses, for a server that somebody else chose. `answers_maximum`: bytes
    that its answers may have together, until the next `KubernetesApi.allow`; None for a server that we trust.
    """

    server: str
    tls: ssl.SSLContext = field(repr=False)
    token: Callable[[], Awaitable[str]] = field(default=no_token, repr=False)
    tls_server_name: str | None = None
    proxy: str | None = None
    resolver: AbstractResolver | None = None
    answers_maximum: int | None = None


class TokenFile:
    """A projected ServiceAccount token, which the kubelet replaces: read again when it is a minute old."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read = float("-inf")

    async def __call__(self) -> str:
        """Raises StateUnavailable when there never was a token; else the last one is better than none."""
        now = time.monotonic()
        if now - self._read > _TOKEN_SECONDS:
            try:
                self._token = self._path.read_text().strip() or self._token
                self._read = now
            except OSError as error:
                if not self._token:
                    raise StateUnavailable(f"the ServiceAccount token {self._path} cannot be read: {error.strerror}") from error
        return self._token

    def forget(self) -> None:
        """The server refused the token: read the file again."""
        self._read = float("-inf")


def in_cluster_access(environ: Mapping[str, str], folder: Path = SERVICE_ACCOUNT_FOLDER) -> ClusterAccess:
    """Of the pod that we run in. Raises StateUnavailable outside of one."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise StateUnavailable("not in a pod: KUBERNETES_SERVICE_HOST and _PORT are not set; use a kubeconfig instead")
    try:
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    except (OSError, ssl.SSLError) as error:
        raise StateUnavailable(f"the cluster's CA {folder / 'ca.crt'} cannot be read; is the token mounted?") from error
    return ClusterAccess(
        f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", context, TokenFile(folder / "token")
    )


def load_client_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Gives `context` a PEM certificate and its key, which OpenSSL takes from files. Raises SSLError, OSError, ValueError."""
    with tempfile.TemporaryDirectory(prefix="akua-") as folder:  # 0700, gone before this returns
        files = [Path(folder) / name for name in ("certificate", "key")]
        for file, content in zip(files, (certificate, key), strict=True):
            file.write_bytes(content)
        # The password keeps OpenSSL from asking a terminal for one.
        context.load_cert_chain(files[0], files[1], password="")

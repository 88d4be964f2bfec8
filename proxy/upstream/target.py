"""What is asked of an upstream registry. URLs to upstreams are built here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# Docker Hub's registry answers at another name than images carry.
_ENDPOINTS = {"docker.io": "registry-1.docker.io"}


class TargetKind(StrEnum):
    MANIFESTS = "manifests"
    BLOBS = "blobs"
    TAGS = "tags"
    REFERRERS = "referrers"


@dataclass(frozen=True, slots=True)
class UpstreamTarget:
    """`registry` is host[:port]; `reference` a tag or digest ("" for tags); `query` is percent-encoded."""

    registry: str
    repository: str
    kind: TargetKind
    reference: str = ""
    query: str = ""

    def url(self, *, insecure: bool = False) -> str:
        path = f"{self.kind}/{'list' if self.kind is TargetKind.TAGS else self.reference}"
        suffix = f"?{self.query}" if self.query else ""
        return f"{base_url(self.registry, insecure=insecure)}{self.repository}/{path}{suffix}"

    @property
    def scope(self) -> str:
        return f"repository:{self.repository}:pull"


def base_url(registry: str, *, insecure: bool = False) -> str:
    """The registry's ``/v2/``."""
    return f"{'http' if insecure else 'https'}://{_ENDPOINTS.get(registry, registry)}/v2/"

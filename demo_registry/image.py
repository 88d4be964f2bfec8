"""A small real OCI image, built in memory: layers as tar+gzip, a config, a manifest, an index (OCI image-spec 1.1)."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
_ELF = b"\x7fELF"
_EPOCH = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class StoredManifest:
    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.content)


@dataclass(slots=True)
class Repository:
    """Content of one repository: blobs and manifests by digest, tags, referrers by subject."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, StoredManifest] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    referrers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add_blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Stores a blob and returns its descriptor."""
        digest = digest_of(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def add_manifest(self, document: Mapping[str, Any], tag: str = "") -> dict[str, Any]:
        """Stores a manifest or index, tagged if `tag` is given, and returns its descriptor."""
        stored = StoredManifest(str(document["mediaType"]), json.dumps(document, separators=(",", ":")).encode())
        self.manifests[stored.digest] = stored
        if tag:
            self.tags[tag] = stored.digest
        descriptor = {"mediaType": stored.media_type, "digest": stored.digest, "size": len(stored.content)}
        if subject := document.get("subject"):
            self.referrers.setdefault(subject["digest"], []).append(
                descriptor | {"artifactType": document.get("artifactType", document["config"]["mediaType"])}
            )
        return descriptor

    def add_image(
        self, layers: Sequence[Mapping[str, bytes]], tag: str, architecture: str = "amd64", entrypoint: str = ""
    ) -> dict[str, Any]:
        """Stores an image whose layers hold the given files (path -> content) and returns its manifest's descriptor."""
        archives = [_archive(files) for files in layers]
        config = {
            "created": _EPOCH,
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Labels": {"org.opencontainers.image.title": tag},
                "Entrypoint": [entrypoint] if entrypoint else None,
            },
            "rootfs": {"type": "layers", "diff_ids": [digest_of(archive) for archive in archives]},
            "history": [{"created": _EPOCH, "created_by": "akua demo"} for _ in archives],
        }
        return self.add_manifest(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": self.add_blob(json.dumps(config).encode(), CONFIG_TYPE),
                "layers": [self.add_blob(gzip.compress(archive, 1, mtime=0), LAYER_TYPE) for archive in archives],
            },
            tag,
        )


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755 if content.startswith(_ELF) else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()

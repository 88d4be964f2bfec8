"""Small images that run anything a shell can, each with a layer of its own, for pushing into a registry."""

from __future__ import annotations

import gzip
import io
import json
import platform
import tarfile
from functools import cache

from demo_registry.image import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, Repository, digest_of
from hack.one_node.images import busybox_layer

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SERVE = ["/bin/httpd", "-f", "-p", "80", "-h", "/www"]


def busybox_image(name: str, tag: str) -> Repository:
    """An image that serves its own `name` on port 80 and otherwise runs what it is told."""
    own = io.BytesIO()
    with tarfile.open(fileobj=own, mode="w") as archive:
        entry = tarfile.TarInfo("www/index.html")
        entry.size, entry.mode = len(name), 0o644
        archive.addfile(entry, io.BytesIO(name.encode()))
    repository, layers = Repository(), [busybox(), own.getvalue()]
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Cmd": SERVE, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
    }
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": repository.add_blob(json.dumps(config).encode(), CONFIG_TYPE),
        "layers": [repository.add_blob(gzip.compress(layer, 1, mtime=0), LAYER_TYPE) for layer in layers],
    }
    repository.add_manifest(document, tag)
    return repository


@cache
def busybox() -> bytes:
    return busybox_layer()

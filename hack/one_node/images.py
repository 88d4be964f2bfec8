"""Images made here, of Debian's static busybox: the pods' sandbox, and one for tests to run."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import struct
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from .debian_packages import program
from .errors import ClusterError

SANDBOX_IMAGE = "localhost/akua-sandbox:dev"
BUSYBOX_IMAGE = "localhost/busybox:dev"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_INTERPRETER_SEGMENT = 3  # elf(5), PT_INTERP: what only a dynamically linked program has


def write_archive(file: Path) -> None:
    """An OCI image layout of both images as a tar, as ``ctr images import`` takes it."""
    layer = busybox_layer()
    blobs: dict[str, bytes] = {}
    commands = {SANDBOX_IMAGE: ["/bin/sleep", "2147483647"], BUSYBOX_IMAGE: ["/bin/sh"]}
    manifests = [_manifest(blobs, layer, name, command) for name, command in commands.items()]
    index = {"schemaVersion": 2, "manifests": manifests}
    with tarfile.open(file, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(archive, "index.json", json.dumps(index).encode())
        for digest, content in blobs.items():
            _add(archive, f"blobs/sha256/{digest}", content)


def _manifest(blobs: dict[str, bytes], layer: bytes, name: str, command: Sequence[str]) -> dict[str, object]:
    """The image's descriptor for the index; its parts go into `blobs`."""

    def put(content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    packed = put(layer, "application/vnd.oci.image.layer.v1.tar")
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Cmd": list(command), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [packed["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [packed],
    }
    descriptor = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    return {**descriptor, "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}}


def busybox_layer() -> bytes:
    """A tar with busybox, a link for each of its programs, and a few folders. Raises ClusterError."""
    busybox = program("busybox")
    content = busybox.read_bytes()
    if _is_dynamic(content):
        raise ClusterError(f"{busybox} is linked dynamically: install busybox-static")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("www", 0o755)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        _add(archive, "bin/busybox", content, 0o755)
        _add(archive, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        _add(archive, "etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        for applet in applets:
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(entry)
    return packed.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _is_dynamic(program_file: bytes) -> bool:
    """elf(5), the program header table of a 64-bit little-endian file."""
    if program_file[:6] != b"\x7fELF\x02\x01":
        return False
    (offset,) = struct.unpack_from("<Q", program_file, 32)
    size, count = struct.unpack_from("<HH", program_file, 54)
    return any(
        struct.unpack_from("<I", program_file, offset + number * size)[0] == _INTERPRETER_SEGMENT for number in range(count)
    )

"""A containerd of its own, asked by CRI's PullImage with an AuthConfig: the very call that kubelet makes.

The few protobuf messages are written by hand (k8s.io/cri-api, runtime/v1/api.proto): PullImageRequest{1: ImageSpec{1: image},
2: AuthConfig{1: username, 2: password}} and PullImageResponse{1: image_ref}.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.support.programs import requires_program


@dataclass(frozen=True, slots=True)
class Containerd:
    """A running containerd; `certs_d` is its registry configuration folder."""

    socket: Path
    certs_d: Path

    def pull(self, image: str, username: str, password: str) -> str:
        """Pulls and returns the image reference. Raises RuntimeError with the message that kubelet would show."""
        auth = _field(1, username.encode()) + _field(2, password.encode())
        request = _field(1, _field(1, image.encode())) + _field(2, auth)
        with grpc.insecure_channel(f"unix://{self.socket}") as channel:
            call = channel.unary_unary("/runtime.v1.ImageService/PullImage")
            try:
                answer = bytes(call(request, timeout=60))
            except grpc.RpcError as error:
                raise RuntimeError(str(error.details())) from None
        return answer[2 : 2 + answer[1]].decode()


@contextmanager
def containerd(folder: Path) -> Iterator[Containerd]:
    """Starts one in `folder` and stops it by pid. Needs root."""
    program = requires_program("containerd")
    certs_d = folder / "certs.d"
    certs_d.mkdir(parents=True)
    # The kernel bounds a socket's path (108 bytes); pytest's folders are deep.
    sockets = Path(tempfile.mkdtemp(prefix="akua-"))
    socket = sockets / "containerd.sock"
    (folder / "config.toml").write_text(
        f"""\
version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{certs_d}"
"""
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "--config", folder / "config.toml"], stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while not _answers(socket):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"containerd did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield Containerd(socket, certs_d)
    finally:
        process.terminate()
        process.wait(15)
        shutil.rmtree(sockets, ignore_errors=True)


def _answers(socket: Path) -> bool:
    if not socket.exists():
        return False
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        try:
            channel.unary_unary("/runtime.v1.ImageService/ListImages")(b"", timeout=2)
        except grpc.RpcError:
            return False
    return True


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field."""
    length, encoded = len(value), b""
    while length > 0x7F:
        encoded += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([number << 3 | 2]) + encoded + bytes([length]) + value

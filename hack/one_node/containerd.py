"""containerd with root, state, socket, registries and runc's notes in the run folder, apart from any other of the machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .debian_packages import CNI_PLUGINS, program
from .errors import ClusterError
from .images import SANDBOX_IMAGE, write_archive
from .network import write_cni
from .processes import Daemons

_SOCKET_PATH_LIMIT = 100  # unix(7): 108 bytes with the ending NUL; containerd adds a suffix for ttrpc


class Containerd:
    """`certs_d` is where ``HOST/hosts.toml`` goes; it is read at each pull."""

    def __init__(self, folder: Path, daemons: Daemons) -> None:
        self._folder = folder / "containerd"
        self._daemons = daemons
        self.socket = self._folder / "c.sock"
        self.certs_d = self._folder / "certs.d"
        self.runc_state = self._folder / "runc"

    def start(self) -> None:
        """Raises ClusterError where the run folder's path is too long for a socket."""
        if len(str(self.socket)) > _SOCKET_PATH_LIMIT:
            raise ClusterError(f"{self._folder} is too long a path for containerd's socket: give a shorter --dir")
        self.certs_d.mkdir(parents=True, exist_ok=True)
        write_cni(self._folder / "cni", self._folder / "addresses")
        config = self._folder / "config.toml"
        config.write_text(self._configuration())
        self._daemons.start("containerd", [program("containerd"), "--config", config])

    def ready(self) -> bool:
        return self.socket.exists() and self._ctr("version").returncode == 0

    def import_images(self) -> None:
        archive = self._folder / "images.tar"
        write_archive(archive)
        self.import_archive(archive)
        archive.unlink()

    def import_archive(self, archive: Path) -> None:
        done = self._ctr("--namespace", "k8s.io", "images", "import", str(archive))
        if done.returncode:
            raise ClusterError(f"importing {archive} failed: {done.stderr.strip()}")

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [program("ctr"), "--address", self.socket, "--connect-timeout", "2s", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def _configuration(self) -> str:
        here = self._folder
        return f"""\
version = 2
root = "{here}/root"
state = "{here}/state"
[grpc]
address = "{self.socket}"
[ttrpc]
address = "{self.socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
path = "{here}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{SANDBOX_IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{here}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{self._snapshotter()}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{self.runc_state}"
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{self.certs_d}"
"""

    def _snapshotter(self) -> str:
        """overlayfs, but not on top of another overlay, as inside a container."""
        kind = subprocess.run(["stat", "-f", "-c", "%T", self._folder], capture_output=True, text=True, check=False).stdout
        return "native" if "overlay" in kind else "overlayfs"

"""What outlives its daemons: shims, containers, mounts, kube-proxy's rules. Each is found by the run folder's own paths."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .debian_packages import find_program


def remove_containers(containerd_folder: Path) -> None:
    """The shims that serve this containerd, and then their containers, whether a shim had the time to end them or not."""
    shims = list(_shims(containerd_folder / "c.sock"))
    for pid in shims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    runc = find_program("runc")
    for container in (containerd_folder / "runc" / "k8s.io").glob("*"):
        if runc:
            command: list[str | Path] = [runc, "--root", container.parent, "delete", "--force", container.name]
            subprocess.run(command, capture_output=True, check=False, timeout=30)
        _remove_notes(containerd_folder / "c.sock", container.name)
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in shims) and time.monotonic() < deadline:
        time.sleep(0.02)


def remove_mounts(folder: Path) -> list[str]:
    """Unmounts everything below `folder`, the deepest first. Returns what could not be unmounted."""
    for _ in range(3):  # a mount may hide another one
        for point in sorted(_mounts(folder), reverse=True):
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
    return list(_mounts(folder))


def remove_service_rules(kube_proxy: Path | None) -> None:
    if kube_proxy:
        subprocess.run([kube_proxy, "--cleanup"], capture_output=True, check=False, timeout=30)


def remove_empty_cgroups() -> None:
    """``k8s.io`` of the containers that are gone; one that holds somebody's containers does not let itself be removed."""
    for parent in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")):
        with contextlib.suppress(OSError):
            (parent / "k8s.io").rmdir()


def remove_log_links(folder: Path) -> None:
    """kubelet's links in /var/log/containers to logs of ours."""
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(folder):
            link.unlink(missing_ok=True)


def _remove_notes(socket: Path, container: str) -> None:
    """What containerd and CNI keep outside the run folder: the shim's socket, named by a hash, and the interfaces' results."""
    shim = hashlib.sha256(str(socket.parent / socket.name / "k8s.io" / container).encode()).hexdigest()
    for note in (Path("/run/containerd/s") / shim, *Path("/var/lib/cni/results").glob(f"*-{container}-*")):
        note.unlink(missing_ok=True)


def _shims(socket: Path) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in arguments[0] and str(socket).encode() in arguments:
                yield int(process.name)


def _mounts(folder: Path) -> Iterator[str]:
    """proc(5), mountinfo: the mount point is field 5, with spaces and the like as octal escapes."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if Path(point).is_relative_to(folder):
            yield point

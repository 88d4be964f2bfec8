"""The programs that come from Debian's packages, and installing those packages where they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import ClusterError

CNI_PLUGINS = Path("/usr/lib/cni")
CONTROL_PLANE: Mapping[str, str] = {"etcd": "etcd-server"}
NODE: Mapping[str, str] = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "busybox": "busybox-static",
    f"{CNI_PLUGINS}/bridge": "containernetworking-plugins",
}
_POLICY = Path("/usr/sbin/policy-rc.d")


def find_program(name: str) -> Path | None:
    """Also where daemons live, which is not on every user's path."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return Path(found) if found else None


def program(name: str) -> Path:
    """Raises ClusterError where it is absent."""
    found = find_program(name)
    if found is None:
        raise ClusterError(f"{name} is not installed")
    return found


def ensure(programs: Mapping[str, str]) -> None:
    """Installs what is missing: as root with apt; otherwise raises ClusterError that names the packages."""
    missing = sorted({package for name, package in programs.items() if not find_program(name)})
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ClusterError(f"these Debian packages (or the programs in them) are needed: {names}\n  apt-get install {names}")
    print(f"installing Debian packages: {names}", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_daemons():
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing]):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ClusterError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")


@contextmanager
def _no_daemons() -> Iterator[None]:
    """Debian starts a daemon when its package is installed; ours are started by us, in the run folder (see invoke-rc.d(8))."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)

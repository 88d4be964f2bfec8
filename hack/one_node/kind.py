"""The same cluster where a Docker engine runs: by kind, with the configuration of manifests/overlays/kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import binaries
from .errors import ClusterError

NAME = "akua"
VERSION = "v0.30.0"
CONFIGURATION = Path(__file__).resolve().parents[2] / "manifests" / "overlays" / "kind" / "kind-config.yaml"


def docker_answers() -> bool:
    """Whether an engine is there, not merely the client."""
    docker = shutil.which("docker")
    if not docker:
        return False
    done = subprocess.run([docker, "version", "--format", "{{.Server.Version}}"], capture_output=True, check=False, timeout=20)
    return done.returncode == 0


def up(kubeconfig: Path) -> bool:
    """False when it already ran. Raises ClusterError."""
    program = _program()
    names = subprocess.run([program, "get", "clusters"], capture_output=True, text=True, check=False).stdout.split()
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    if NAME in names:
        _run(program, "export", "kubeconfig", "--name", NAME, "--kubeconfig", kubeconfig)
        return False
    _run(program, "create", "cluster", "--name", NAME, "--config", CONFIGURATION, "--kubeconfig", kubeconfig, "--wait", "180s")
    return True


def load(archive: Path) -> None:
    """Puts the images of an archive on the node."""
    _run(_program(), "load", "image-archive", archive, "--name", NAME)


def down(kubeconfig: Path) -> None:
    _run(_program(), "delete", "cluster", "--name", NAME, "--kubeconfig", kubeconfig)
    kubeconfig.unlink(missing_ok=True)


def _program() -> Path:
    found, built = shutil.which("kind"), binaries.cache_folder().parent / "kind" / VERSION / "kind"
    if found or built.exists():
        return Path(found) if found else built
    go = binaries.find_go()
    if go is None:
        raise ClusterError("Docker is here, but neither kind nor Go to build it with: install one of them")
    print(f"building kind {VERSION}, once", file=sys.stderr, flush=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(built.parent)}
    if subprocess.run([go, "install", f"sigs.k8s.io/kind@{VERSION}"], env=environment, check=False).returncode:
        raise ClusterError("building kind failed; its messages are above")
    return built


def _run(*command: str | Path) -> None:
    if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
        raise ClusterError(f"{' '.join(str(part) for part in command)} failed; its messages are above")

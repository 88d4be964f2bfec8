"""Programs in Go that measurements and tests need, built from the modules that pin them and kept in a cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from hack.one_node.binaries import toolchain
from hack.one_node.errors import ClusterError

PEERS = Path(__file__).parents[1] / "bench" / "peers"
REGISTRY_PROGRAMS = Path(__file__).parent / "registry_programs"
ETCD = "go.etcd.io/etcd/server/v3"  # of the version that goes with this Kubernetes: Debian's cannot stream a list
CONTROLLER_RUNTIME_WEBHOOK = "./controller_runtime_webhook"
CONFORMANCE = "github.com/opencontainers/distribution-spec/conformance"
CRANE = "github.com/google/go-containerregistry/cmd/crane"
REGCTL = "github.com/regclient/regclient/cmd/regctl"
REFERRING_REGISTRY = "./referring_registry"


def go_program(package: str, module: Path = PEERS) -> Path:
    """Built once for each content of `module`, in about a minute. Skips loudly without Go, fails in CI."""
    content = hashlib.sha256(package.encode())
    for file in sorted(module.rglob("*")):
        if file.suffix in (".go", ".mod", ".sum"):
            content.update(file.read_bytes())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "akua" / "go"
    program = root / content.hexdigest()[:16]
    if not program.exists():
        root.mkdir(parents=True, exist_ok=True)
        _build(package, module, program)
    return program


def _build(package: str, module: Path, program: Path) -> None:
    made = program.with_suffix(f".{os.getpid()}")
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    try:
        command: list[str | Path] = [
            toolchain(),
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            "-s -w",
            "-o",
            made,
            package,
        ]
        done = subprocess.run(command, cwd=module, env=environment, capture_output=True, text=True, check=False)
        problem = done.stderr[-2000:] if done.returncode else ""
    except ClusterError as error:
        problem = str(error)
    if problem:
        message = f"{package} cannot be built: {problem}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    made.rename(program)

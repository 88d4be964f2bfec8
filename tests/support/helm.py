"""helm, on a namespace of the cluster."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Helm:
    program: Path
    kubeconfig: Path
    namespace: str

    def __call__(self, *arguments: str) -> str:
        """Standard output; whatever configuration of helm this machine has is left out."""
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "HELM_DRIVER": "secret"}
        command: list[str | Path] = [self.program, "--kubeconfig", self.kubeconfig, "--namespace", self.namespace, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def create(self, name: str, folder: Path) -> Path:
        """helm's own starter chart, in a new folder."""
        self("create", str(folder / name))
        return folder / name

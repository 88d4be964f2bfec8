"""manifests/ as kustomize builds them: `base`, an overlay, or base with components of one's choice."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.kubernetes import kubectl_program

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = tuple(sorted(path.parent.name for path in MANIFESTS.glob("overlays/*/kustomization.yaml")))
COMPONENTS = tuple(sorted(path.parent.name for path in MANIFESTS.glob("components/*/kustomization.yaml")))
# Every build that is checked: "base", "base+COMPONENT" and "overlays/NAME".
BUILDS = ("base", *(f"base+{name}" for name in COMPONENTS), *(f"overlays/{name}" for name in OVERLAYS))
Manifest = dict[str, Any]


def built(build: str, *settings: str) -> list[Manifest]:
    """The objects of one of BUILDS, a fresh copy; `settings` (AKUA_X=value) are merged into akua-settings as an overlay does."""
    manifests: list[Manifest] = json.loads(_built_json(build, settings))
    return manifests


@cache
def _built_json(build: str, settings: tuple[str, ...]) -> str:
    text = _built_text(build, settings)
    return json.dumps([document for document in yaml.load_all(text, _Loader) if document])


def _built_text(build: str, settings: tuple[str, ...]) -> str:
    base, *components = build.split("+")
    if not components and not settings:
        return _kustomize(MANIFESTS / base)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        document = {
            "resources": [os.path.relpath(MANIFESTS / base, root)],
            "components": [os.path.relpath(MANIFESTS / "components" / name, root) for name in components],
            "configMapGenerator": [
                {"name": "akua-settings", "namespace": "akua-system", "behavior": "merge", "literals": list(settings)}
            ],
        }
        (root / "kustomization.yaml").write_text(yaml.safe_dump(document))
        return _kustomize(root)


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: Iterable[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [manifest for manifest in of_kind(manifests, kind) if manifest["metadata"]["name"] == name]
    return found


def pod_templates(manifests: Iterable[Manifest]) -> list[tuple[str, Manifest]]:
    """(name of the workload, its pod template)."""
    workloads = of_kind(manifests, "Deployment", "StatefulSet", "DaemonSet")
    return [(workload["metadata"]["name"], workload["spec"]["template"]) for workload in workloads]


def containers(template: Manifest) -> Sequence[Manifest]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _kustomize(folder: Path) -> str:
    command = [str(kubectl_program()), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout

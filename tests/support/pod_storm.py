"""Pods created one lot after the other while something breaks, and a count of what admission made of each."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.support.tenant import INSTALL, Tenant, pod

NOBODY = "nobody"  # a scheduler that does not exist: these pods are admitted and stored, and never run
_LOT = 5
_DEADLINE = 300.0


class PodStorm:
    """Every fifth pod has an image that nobody was granted, which must stay as it is."""

    def __init__(self, tenant: Tenant, total: int = 200) -> None:
        self._tenant, self._total = tenant, total
        self._granted, self._foreign = tenant.image("web"), f"{tenant.installation.registry.authority}/somebody-else/web:1"
        self.accepted: set[str] = set()
        self.refusals: list[str] = []  # what kubectl said when it was refused; the pod was then tried again
        self._late = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def during(self, fault: Callable[[], object]) -> None:
        """Creates all pods; `fault` happens when a quarter of them is there. Returns when all are."""
        self._thread.start()
        while len(self.accepted) < self._total / 4 and self._thread.is_alive():
            time.sleep(0.05)
        fault()
        self._thread.join()
        assert not self._late.is_set(), (
            f"only {len(self.accepted)} of {self._total} pods in {_DEADLINE:g} s: {self.refusals[-3:]}"
        )

    def wrong(self) -> list[str]:
        """Pods, as they are stored, that are not what admission should have made of them. Removes them all."""
        pods = self._tenant.installation.cluster.items("-n", self._tenant.namespace, "pods", "-l", "storm=yes")
        self._tenant.kubectl("delete", "pods", "-l", "storm=yes", "--wait=false")
        assert len(pods) == self._total, "a pod that was accepted is not there"
        return [f"{found['metadata']['name']}: {found['spec']}" for found in pods if not self._is_right(found)]

    def _is_right(self, found: dict[str, Any]) -> bool:
        image = self._image(int(found["metadata"]["name"].removeprefix("storm-")))
        granted = image == self._granted
        expected = self._tenant.installation.proxied(image) if granted else image
        secrets = [{"name": f"akua-pull-{INSTALL}"}] if granted else []
        spec = found["spec"]
        return [one["image"] for one in spec["containers"]] == [expected] and spec.get("imagePullSecrets", []) == secrets

    def _image(self, number: int) -> str:
        return self._foreign if number % 5 == 0 else self._granted

    def _run(self) -> None:
        deadline = time.monotonic() + _DEADLINE
        for first in range(0, self._total, _LOT):
            waiting = {f"storm-{number}" for number in range(first, min(first + _LOT, self._total))}
            while waiting:
                if time.monotonic() > deadline:
                    self._late.set()
                    return
                self._create(waiting)
                waiting -= self.accepted

    def _create(self, names: set[str]) -> None:
        manifests = [pod(name, self._image(int(name.removeprefix("storm-"))), schedulerName=NOBODY) for name in sorted(names)]
        for manifest in manifests:
            manifest["metadata"]["labels"] = {"storm": "yes"}
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        try:
            # One after the other by one kubectl: an answer that got lost is an AlreadyExists at the next try.
            done = self._tenant.installation.cluster.run(
                "-n", self._tenant.namespace, "create", "-f", "-", "-o", "name", "--request-timeout=20s", input=text, seconds=150
            )
        except subprocess.TimeoutExpired as error:
            self.refusals.append(str(error))
            return
        self.accepted |= {line.removeprefix("pod/") for line in done.stdout.split()}
        for line in done.stderr.splitlines():
            if "AlreadyExists" in line:
                self.accepted |= {name for name in names if f'"{name}"' in line}
            elif not line.startswith("Warning:"):
                self.refusals.append(line)
                time.sleep(0.2)

"""What node trust measures."""

from __future__ import annotations

from registry_access.runtime.metrics import MetricSet


class NodeTrustMetrics(MetricSet):
    """Looks at what this node is to trust."""

    def __init__(self) -> None:
        super().__init__()
        self.node_trust_looks = self._counter(
            "akua_node_trust_looks", "Checks of this node's containerd configuration: written, unchanged or failed.", "result"
        )
        self._expect(self.node_trust_looks, "written", "unchanged", "failed")

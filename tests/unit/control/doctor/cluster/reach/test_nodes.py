"""How nodes find the proxy: by a public name, or by node trust."""

from __future__ import annotations

import pytest

from control.doctor.cluster.installation import Installation
from control.doctor.cluster.reach.nodes import name_checks
from control.doctor.cluster.view import Lookup
from tests.support.fake_cluster import ABSENT, HIDDEN, findings, seen

HOST = "oci.akua.dev"


def node_trust(ready: int, wanted: int, host: str = HOST) -> Lookup:
    status = {"desiredNumberScheduled": wanted, "numberReady": ready}
    containers = [{"env": [{"name": "AKUA_HOST", "value": host}]}]
    return seen({"spec": {"template": {"spec": {"containers": containers}}}, "status": status})


@pytest.mark.parametrize(
    ("look", "addresses", "found", "says"),
    [
        (node_trust(3, 3), [], [("good", "name"), ("good", "node-trust")], "3 of 3 nodes are configured"),
        (node_trust(2, 3), [], [("good", "name"), ("bad", "node-trust")], "1 of 3 nodes are not configured yet"),
        (node_trust(0, 0), [], [("good", "name"), ("bad", "node-trust")], "runs on no node"),
        (node_trust(3, 3, "a.example"), [], [("good", "name"), ("bad", "node-trust")], "configures nodes for a.example"),
        (ABSENT, ["192.0.2.1"], [("good", "name")], "oci.akua.dev resolves to 192.0.2.1 here; nodes must resolve it too"),
        (ABSENT, [], [("bad", "name")], "no pod can pull; give it a public name and certificate"),
        (HIDDEN, ["192.0.2.1"], [("good", "name")], "cannot be checked"),
        (HIDDEN, [], [("unseen", "name")], "does not resolve here; whether akua-node-trust configures nodes cannot be checked"),
    ],
)
def test_nodes_find_the_proxy_by_a_public_name_or_because_they_are_told(
    look: Lookup, addresses: list[str], found: list[tuple[str, str]], says: str
) -> None:
    checks = name_checks(Installation(HOST, node_trust=look), addresses)
    assert findings(*checks) == found
    assert says in checks[-1].detail

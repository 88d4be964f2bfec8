"""What only the cluster's inside shows: freshness, leader, rights, a pod on trial, the audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from control.doctor.cluster.admission.slipped import slipped_check
from control.doctor.cluster.admission.trial_pod import labels_for, trial_check
from control.doctor.cluster.freshness import freshness_checks, leader_check
from control.doctor.cluster.installation import Installation
from control.doctor.cluster.rights import EXCESSIVE, NEEDED, account_checks, own_checks, workspace_checks
from control.doctor.cluster.state import read_state
from control.doctor.cluster.trail import trail_check
from control.doctor.cluster.view import Lookup, ResourceAttributes
from control.doctor.finding import Check
from control.doctor.resources import credential_checks
from registry_access.model.errors import Conflict, InvalidManifest
from registry_access.model.label_selector import LabelSelector, Operator, Requirement
from registry_access.settings import Settings
from tests.support.fake_cluster import ABSENT, HIDDEN, FakeApi, Manifest, deployment, findings, seen, told

GROUP = "/apis/registry.akua.dev/v1alpha1"
NOW = 1_800_000_000.0
HOST = "oci.akua.dev"


def beats(*ages: float) -> Manifest:
    annotations = {f"heartbeat.registry.akua.dev/r{number}": f"{int(NOW - age)}-7" for number, age in enumerate(ages)}
    return {"metadata": {"annotations": annotations | {"other": "1-1"}}}


def heartbeats(**kinds: Manifest) -> FakeApi:
    namespaces = {"/api/v1/namespaces/akua-system": kinds.pop("namespaces")} if "namespaces" in kinds else {}
    return FakeApi(
        namespaces | {f"{GROUP}/namespaces/akua-system/{kind}/akua-heartbeat": manifest for kind, manifest in kinds.items()}
    )


async def test_every_process_proves_each_watch_that_it_has() -> None:
    running = Installation(HOST, proxy=seen(deployment(ready=1)), webhook=seen(deployment(ready=2)))
    api = heartbeats(
        namespaces=beats(1, 2, 3),
        products=beats(1, 2, 700),
        installs=beats(16, 17),
        registrycredentials=beats(0),
    )
    found = told(await freshness_checks(api.view, running, 15.0, NOW))
    assert found["freshness namespaces"] == ("good", "3 processes have proven the watch within 15 s")
    assert found["freshness products"][0] == "warning"
    assert "2 processes have proven the watch within 15 s, but 3 are running" in found["freshness products"][1]
    assert found["freshness installs"][0] == "bad"
    assert found["freshness installs"][1].startswith("the last proof is 16s old, and pulls are refused after 15 s")
    assert found["freshness registrycredentials"] == ("good", "1 process has proven the watch within 15 s")
    assert found["freshness pullgrants"][0] == "bad"
    assert "no process has ever proven" in found["freshness pullgrants"][1]


async def test_where_the_processes_cannot_be_counted_one_proof_will_do() -> None:
    api = heartbeats(namespaces=beats(1), installs=beats(1))
    api.refused.add(f"{GROUP}/namespaces/akua-system/installs/akua-heartbeat")
    found = told(await freshness_checks(api.view, Installation(HOST, proxy=HIDDEN, webhook=HIDDEN), 15.0, NOW))
    assert found["freshness namespaces"][0] == "good"
    assert found["freshness installs"][0] == "unseen"


def lease(holder: str, age: float) -> Lookup:
    renewed = datetime.fromtimestamp(NOW - age, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return seen({"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15}})


@pytest.mark.parametrize(
    ("look", "finding", "says"),
    [
        (lease("akua-1", 3), "good", "akua-1, renewed 3s ago"),
        (lease("akua-1", 40), "bad", "akua-1 last renewed the Lease akua-install-sync 40s ago"),
        (lease("", 1), "bad", "nobody holds the Lease"),
        (seen({"spec": {"holderIdentity": "akua-1"}}), "bad", "never"),
        (ABSENT, "bad", "nobody holds the Lease"),
        (HIDDEN, "unseen", "cannot be looked at"),
    ],
)
def test_somebody_leads(look: Lookup, finding: str, says: str) -> None:
    check = leader_check(Installation(HOST, lease=look), NOW)
    assert (str(check.finding), says in check.detail) == (finding, True), check.detail


def only(**accounts: Sequence[ResourceAttributes]) -> Any:
    """Each account of ours (akua_...) is allowed just this."""
    allowed = {
        f"system:serviceaccount:akua-system:{name.replace('_', '-')}": [access.attributes() for access in accesses]
        for name, accesses in accounts.items()
    }
    return lambda attributes, user: dict(attributes) in allowed[user]


async def test_each_account_has_what_it_needs_and_no_more() -> None:
    api = FakeApi(may=only(akua_proxy=NEEDED["akua-proxy"], akua_webhook=NEEDED["akua-webhook"]))
    assert findings(*await account_checks(api.view)) == [("good", "rights akua-webhook"), ("good", "rights akua-proxy")]
    api.may = only(akua_proxy=NEEDED["akua-proxy"][3:], akua_webhook=(*NEEDED["akua-webhook"], EXCESSIVE["akua-webhook"][0]))
    found = told(await account_checks(api.view))
    assert found["rights akua-proxy"][0] == "bad"
    assert found["rights akua-proxy"][1].startswith("may not list namespaces, watch namespaces, list registrycredentials; ")
    assert found["rights akua-webhook"] == (
        "warning",
        "may create pods, which it does not need: which binding of yours gives it?",
    )
    api.refused.add("/apis/authorization.k8s.io/v1/subjectaccessreviews")
    assert {finding for finding, _ in findings(*await account_checks(api.view))} == {"unseen"}


async def test_what_the_person_may_is_said_by_workspace() -> None:
    api = FakeApi(may=lambda attributes, user: attributes.get("namespace") == "acme")
    found = told(await own_checks(api.view, ["acme", "globex"]))
    assert found["rights"][0] == "warning"
    assert "list namespaces, list registrycredentials, list products and 1 more" in found["rights"][1]
    assert found["rights acme"][0] == "good"
    assert found["rights globex"][0] == "warning"
    assert "ClusterRole edit in globex" in found["rights globex"][1]
    many = await own_checks(FakeApi().view, [f"w{number}" for number in range(50)])
    assert len(many) == 11
    refused = FakeApi(refused={"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"})
    assert findings(*await own_checks(refused.view, ["acme"])) == [("unseen", "rights")]


async def test_the_proxy_is_let_into_each_workspace() -> None:
    path = "/apis/rbac.authorization.k8s.io/v1/rolebindings"

    def binding(namespace: str, role: str = "akua-workspace-secrets") -> Manifest:
        return {"metadata": {"namespace": namespace, "name": "akua-proxy"}, "roleRef": {"name": role}}

    api = FakeApi({f"{path}/a": binding("acme"), f"{path}/b": binding("globex", "view")})
    assert findings(*await workspace_checks(api.view, ["acme"])) == [("good", "workspaces")]
    assert findings(*await workspace_checks(api.view, ["acme", "globex", "initech"])) == [
        ("bad", "workspace globex"),
        ("bad", "workspace initech"),
    ]
    api.refused.add(path)
    assert findings(*await workspace_checks(api.view, ["acme"])) == [("unseen", "workspaces")]


def grant(namespace: str, **spec: Any) -> Manifest:
    spec = {"host": HOST, "images": ["ghcr.io/acme/*"], "pullSecret": "akua-pull-shop", **spec}
    return {"metadata": {"name": "shop", "namespace": namespace, "uid": "1"}, "spec": spec}


def granted(*grants: Manifest) -> FakeApi:
    return FakeApi({f"{GROUP}/pullgrants/{number}": each for number, each in enumerate(grants)})


async def tried(api: FakeApi) -> Check:
    return await trial_check(api.view, HOST, await read_state(api))


def rewritten(pod: Manifest) -> Manifest:
    image = f"{HOST}/{pod['spec']['containers'][0]['image']}"
    return {"spec": {"containers": [{"image": image}], "imagePullSecrets": [{"name": "akua-pull-shop"}]}}


async def test_a_pod_on_trial_comes_back_rewritten() -> None:
    api = granted(grant("other", host="registry.example"), grant("shop-prod", podSelector={"matchLabels": {"app": "shop"}}))
    asked: list[Manifest] = []

    def pod(manifest: Manifest) -> Manifest:
        asked.append(manifest)
        return rewritten(manifest)

    api.pod = pod
    check = await tried(api)
    assert (str(check.finding), check.name) == ("good", "trial pod shop-prod")
    assert "ghcr.io/acme/akua-doctor:akua-doctor becomes oci.akua.dev/ghcr.io/acme/akua-doctor:akua-doctor" in check.detail
    assert asked[0]["metadata"]["labels"] == {"app": "shop"}
    assert ("POST", "/api/v1/namespaces/shop-prod/pods") in api.asked


@pytest.mark.parametrize(
    ("answer", "finding", "says"),
    [
        (lambda pod: pod, "bad", "was not rewritten although grant shop covers it"),
        (lambda pod: {"spec": {**rewritten(pod)["spec"], "imagePullSecrets": []}}, "bad", "without the pull Secret"),
        (lambda pod: Conflict("exceeded quota: pods"), "warning", "could not be created: exceeded quota"),
        (lambda pod: InvalidManifest("is no good"), "warning", "could not be created: is no good"),
    ],
)
async def test_a_pod_on_trial_that_does_not(answer: Any, finding: str, says: str) -> None:
    api = granted(grant("shop-prod"))
    api.pod = answer
    check = await tried(api)
    assert (str(check.finding), says in check.detail) == (finding, True), check.detail


async def test_without_a_grant_there_is_nothing_to_try() -> None:
    for api in (granted(), granted({"metadata": {"name": "x"}}), granted(grant("a", host="registry.example"))):
        check = await tried(api)
        assert (str(check.finding), "nothing to test" in check.detail) == ("warning", True)
    hidden = FakeApi(refused={f"{GROUP}/pullgrants"})
    assert "cannot be looked at" in (await tried(hidden)).detail


async def test_grants_that_may_not_be_listed_everywhere_are_looked_for_where_installs_go() -> None:
    install = {"metadata": {"name": "shop", "namespace": "acme"}, "spec": {"repositories": ["ghcr.io/acme/*"]}}
    status = {"targets": [{"namespace": "shop-prod", "synced": True}]}
    api = FakeApi(
        {
            f"{GROUP}/namespaces/acme/installs/shop": install | {"status": status},
            f"{GROUP}/namespaces/shop-prod/pullgrants/shop": grant("shop-prod"),
        },
        refused={f"{GROUP}/pullgrants"},
        pod=rewritten,
    )
    check = await trial_check(api.view, HOST, await read_state(api, "acme"))
    assert (str(check.finding), check.name) == ("good", "trial pod shop-prod")


def running(name: str, image: str, phase: str = "Running", **metadata: Any) -> Manifest:
    spec = {"containers": [{"name": "web", "image": image}]}
    return {"metadata": {"name": name, "namespace": "shop-prod", **metadata}, "spec": spec, "status": {"phase": phase}}


async def test_namespaces_that_go_are_neither_tried_nor_missed() -> None:
    label = {"registry.akua.dev/workspace": "true"}
    going = {"name": "going", "labels": label, "deletionTimestamp": "2026-11-25T00:00:00Z"}
    api = granted(grant("going"))
    api.objects["/api/v1/namespaces/going"] = {"metadata": going}
    state = await read_state(api)
    assert state.workspaces() == []
    assert "nothing to test" in (await trial_check(api.view, HOST, state)).detail


async def test_pods_that_slipped_past_the_webhook_are_named() -> None:
    api = granted(grant("shop-prod", podSelector={"matchLabels": {"app": "shop"}}))
    labels = {"app": "shop"}
    pods = [
        running("rewritten", "oci.akua.dev/ghcr.io/acme/web:1", labels=labels),
        running("slipped", "ghcr.io/acme/web:1", labels=labels),
        running("ended", "ghcr.io/acme/web:1", "Succeeded", labels=labels),
        running("not-granted", "quay.io/other/web:1", labels=labels),
        running("not-selected", "ghcr.io/acme/web:1"),
    ]
    path = "/api/v1/namespaces/shop-prod/pods"
    api.objects |= {f"{path}/{pod['metadata']['name']}": pod for pod in pods}
    check = await slipped_check(api.view, await read_state(api))
    assert (str(check.finding), check.detail.split(" run images")[0]) == ("warning", "shop-prod/slipped")
    del api.objects[f"{path}/slipped"]
    check = await slipped_check(api.view, await read_state(api))
    assert (str(check.finding), check.detail) == ("good", "all 3 in 1 namespaces passed through the webhook")
    api.refused.add(path)
    assert findings(await slipped_check(api.view, await read_state(api))) == [("unseen", "pods")]
    assert "no namespace" in (await slipped_check(api.view, await read_state(FakeApi()))).detail
    hidden = FakeApi(refused={f"{GROUP}/pullgrants"})
    assert findings(await slipped_check(hidden.view, await read_state(hidden))) == [("unseen", "pods")]


@pytest.mark.parametrize(
    ("selector", "labels"),
    [
        (LabelSelector(), {}),
        (LabelSelector((("app", "shop"),), (Requirement("tier", Operator.IN, ("web", "api")),)), {"app": "shop", "tier": "web"}),
        (LabelSelector((), (Requirement("tier", Operator.EXISTS),)), {"tier": "doctor"}),
        (LabelSelector((), (Requirement("tier", Operator.NOT_IN, ("web",)), Requirement("x", Operator.DOES_NOT_EXIST))), {}),
        (LabelSelector((("tier", "web"),), (Requirement("tier", Operator.IN, ("api",)),)), None),
    ],
)
def test_labels_that_a_selector_selects(selector: LabelSelector, labels: Mapping[str, str] | None) -> None:
    assert labels_for(selector) == labels


async def test_the_trail_is_looked_at_where_it_is_known_and_else_said_where_it_is(tmp_path: Path) -> None:
    def proxy(value: Manifest) -> Installation:
        return Installation(HOST, proxy=seen(deployment(env=[{"name": "AKUA_AUDIT_DSN", **value}])))

    assert (
        "a file in the proxy's pod, /audit/audit.db"
        in (await trail_check(Settings(), proxy({"value": "sqlite:////audit/audit.db"}))).detail
    )
    reference = {"valueFrom": {"secretKeyRef": {"name": "akua-audit", "key": "dsn"}}}
    check = await trail_check(Settings(), proxy(reference))
    assert (str(check.finding), "Secret akua-audit (dsn)" in check.detail) == ("good", True)
    assert "says no AKUA_AUDIT_DSN" in (await trail_check(Settings(), proxy({}))).detail
    assert str((await trail_check(Settings(), Installation(HOST, proxy=HIDDEN))).finding) == "unseen"
    there = await trail_check(Settings(audit_dsn=f"sqlite:///{tmp_path}/audit.db"), proxy({}))
    assert "does not exist yet" in there.detail


def credential(name: str, **status: Any) -> Manifest:
    spec = {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr", "repositories": [f"{name}/*"]}
    return {"metadata": {"name": name, "namespace": "acme", "uid": name}, "spec": spec, "status": status}


async def test_the_state_is_read_as_far_as_it_may_be() -> None:
    refused = {"type": "Verified", "status": "False", "reason": "Unauthorized", "message": "the login was refused"}
    verified = {"type": "Verified", "status": "True", "reason": "Ok"}
    api = FakeApi(
        {
            "/api/v1/namespaces/acme": {"metadata": {"name": "acme", "labels": {"registry.akua.dev/workspace": "true"}}},
            f"{GROUP}/registrycredentials/good": credential("good", conditions=[verified]),
            f"{GROUP}/registrycredentials/refused": credential("refused", conditions=[refused]),
            f"{GROUP}/installs/broken": {"metadata": {"name": "broken", "namespace": "acme"}, "spec": 3},
            "/api/v1/namespaces/acme/secrets/ghcr": {
                "metadata": {"name": "ghcr", "namespace": "acme"},
                "data": {"username": "eA==", "password": "eA=="},
            },
        }
    )
    state = await read_state(api)
    assert [str(check.finding) for check in state.checks] == ["good", "bad"]
    assert state.workspaces() == ["acme"]
    found = told(credential_checks(state.index, unseen_secrets=state.unseen_secrets))
    assert found["credential acme/good"] == ("good", "ghcr.io, Secret ghcr, opened by the last pull")
    assert found["credential acme/refused"][0] == "bad"
    assert "the login was refused; replace its secret" in found["credential acme/refused"][1]
    api.refused |= {"/api/v1/namespaces/acme/secrets", f"{GROUP}/products"}
    state = await read_state(api)
    assert findings(*state.checks)[0] == ("unseen", "state products")
    assert "--workspace" in state.checks[0].detail
    found = told(credential_checks(state.index, unseen_secrets=state.unseen_secrets))
    assert found["credential acme/good"][0] == "warning"
    assert found["credential acme/refused"][0] == "bad"

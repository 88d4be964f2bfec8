"""What somebody can do with a token that was stolen from one of our ServiceAccounts: each right tried, and where it ends.

docs/threat-model.md has the answers per account. Attempts to write are server-side dry runs, authorized and admitted in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import pytest

from tests.manifests.attempts_by_other_ways import other_ways
from tests.manifests.attempts_of_the_install_sync import of_the_install_sync
from tests.manifests.attempts_of_the_proxy import of_the_proxy
from tests.manifests.attempts_on_metadata import everybody, heartbeats, metadata_of_others
from tests.manifests.conftest import once
from tests.manifests.test_used_rights import granted
from tests.support.api_requests import ApiRequests
from tests.support.kustomize import BUILDS, built, named, of_kind
from tests.support.stolen_tokens import NO_WORKSPACE, REGISTRATION, SYSTEM, Attempt, core, custom, group, make_world, token_of

WEBHOOK, PROXY = "akua-webhook", "akua-proxy"
BOTH = (WEBHOOK, PROXY)
EVENTS = "events.k8s.io/v1"
Tokens = Mapping[str, str]


@pytest.fixture(scope="module")
def tokens(api: ApiRequests) -> Iterator[Tokens]:
    made = make_world(api, named(built("base"), "MutatingWebhookConfiguration", WEBHOOK))
    tokens = {account: token_of(api, account) for account in (WEBHOOK, PROXY, "akua-node-trust")}
    for user, path, change, says in (
        (PROXY, core(SYSTEM, "secrets", "akua-access-token-keys"), {"metadata": {"labels": {"x": "y"}}}, "changes no"),
        (WEBHOOK, REGISTRATION, {"metadata": {"labels": {"x": "y"}}}, "nothing of its metadata"),
        (WEBHOOK, custom("shop-prod", "pullgrants", "shop"), {"spec": {"host": "evil.example"}}, "oci.akua.dev only"),
        (PROXY, custom("acme", "installs", "shop", "status"), {"status": {"tokenID": "x"}}, "lastPullTime"),
        (PROXY, group(EVENTS, "acme", "events", "by-kubelet"), {"series": None}, "of their own only"),
    ):
        once(partial(api, "PATCH", path, change, token=tokens[user], dry_run=True), says)
    yield tokens
    for path in reversed(made):
        assert api("DELETE", path).allowed
    api("PATCH", "/api/v1/namespaces/acme", NO_WORKSPACE)


ATTEMPTS = [*of_the_proxy(), *of_the_install_sync(), *heartbeats(), *metadata_of_others(), *other_ways(), *everybody()]


def test_every_right_to_write_is_tried() -> None:
    tried = set().union(*(attempt.rights for attempt in ATTEMPTS))
    tried.add((WEBHOOK, "clusterroles.rbac.authorization.k8s.io", "bind"))  # with each RoleBinding
    writes = {(account, full, verb) for account, full, _, verb in granted() if verb not in ("get", "list", "watch")}
    assert writes - tried == set()


def test_what_the_accounts_may_write_is_policed() -> None:
    """Each right to write is under a policy, but for a credential's status, of which the proxy may say everything."""
    policed = set()
    for policy in of_kind(built("base"), "ValidatingAdmissionPolicy"):
        (condition, *_) = policy["spec"].get("matchConditions", [{"expression": ""}])  # none: a policy for everybody
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]:
            accounts = [account for account in BOTH if f"akua-system:{account}'" in condition["expression"]]
            (api_group,) = rule["apiGroups"]
            for plural in rule["resources"]:
                name, slash, subresource = plural.partition("/")
                full = f"{name}.{api_group}{slash}{subresource}" if api_group else plural
                policed |= {(account, full) for account in accounts}
        assert policy["spec"]["failurePolicy"] == "Fail"
    writes = {(account, full) for account, full, _, verb in granted() if verb in ("create", "update", "patch", "delete")}
    assert writes - policed == {(PROXY, "registrycredentials.registry.akua.dev/status")}
    bound = {each["spec"]["policyName"]: each["spec"] for each in of_kind(built("base"), "ValidatingAdmissionPolicyBinding")}
    for policy in of_kind(built("base"), "ValidatingAdmissionPolicy"):
        assert "Deny" in bound[policy["metadata"]["name"]]["validationActions"]
        assert "matchResources" not in bound[policy["metadata"]["name"]]


def test_every_field_of_a_webhook_is_held(api: ApiRequests) -> None:
    """A field that a newer Kubernetes adds must be named in the policy before it can be relied upon."""
    schemas = api("GET", "/openapi/v3/apis/admissionregistration.k8s.io/v1").body["components"]["schemas"]
    policy = named(built("base"), "ValidatingAdmissionPolicy", "akua-registration-writes")
    expressions = " ".join(each["expression"] for each in policy["spec"]["validations"])
    for kind, prefix in (("MutatingWebhook", "w.?"), ("WebhookClientConfig", "w.clientConfig.?")):
        fields = set(schemas[f"io.k8s.api.admissionregistration.v1.{kind}"]["properties"])
        for name in fields - {"name", "clientConfig", "caBundle"}:
            assert f"{prefix}{name} == o." in expressions, name


def test_every_field_of_an_installs_status_has_one_writer() -> None:
    crd = named(built("base"), "CustomResourceDefinition", "installs.registry.akua.dev")
    fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    policy = named(built("base"), "ValidatingAdmissionPolicy", "akua-install-status")
    proxy, _, sync = (each["expression"] for each in policy["spec"]["validations"])
    assert "variables.said == variables.saidBefore" in proxy  # of conditions each has its own types
    for name in fields.keys() - {"conditions"}:
        held = [f"object.?status.?{name} == oldObject.?status.?{name}" in expression for expression in (proxy, sync)]
        assert held.count(True) == 1, name


@pytest.mark.parametrize("build", BUILDS)
def test_pods_are_sent_to_the_host_that_is_set(build: str) -> None:
    """kustomize gives the settings another name with every change; the policy must follow it."""
    (settings,) = (each for each in of_kind(built(build), "ConfigMap") if each["metadata"]["name"].startswith("akua-settings"))
    reference = named(built(build), "ValidatingAdmissionPolicyBinding", "akua-pull-grant-writes")["spec"]["paramRef"]
    assert (reference["name"], reference["namespace"]) == (settings["metadata"]["name"], settings["metadata"]["namespace"])
    assert reference["parameterNotFoundAction"] == "Deny"
    assert settings["data"]["AKUA_HOST"]


def test_who_has_no_right_to_write_has_none_to_read_but_two_objects(api: ApiRequests, tokens: Tokens) -> None:
    token = tokens["akua-node-trust"]
    for path in (core(SYSTEM, "configmaps", "akua-ca"), core(SYSTEM, "services", PROXY)):
        assert api("GET", path, token=token).status in (200, 404)
    for path in (
        "/api/v1/secrets",
        core(SYSTEM, "secrets"),
        core(SYSTEM, "configmaps"),
        core("acme", "pods"),
        "/api/v1/namespaces",
    ):
        assert api("GET", path, token=token).status == 403, path


def test_the_proxy_reads_no_secret_but_those_of_workspaces_and_three_of_its_own(api: ApiRequests, tokens: Tokens) -> None:
    token = tokens[PROXY]
    assert api("GET", core("acme", "secrets"), token=token).allowed
    for name in ("akua-install-token-jwks", "akua-proxy-tls", "akua-access-token-keys"):
        assert api("GET", f"{core(SYSTEM, 'secrets')}?fieldSelector=metadata.name%3D{name}", token=token).allowed
    for path in ("/api/v1/secrets", core(SYSTEM, "secrets"), core("bystander", "secrets"), core("kube-system", "secrets")):
        assert api("GET", path, token=token).status == 403, path
    for name in ("akua-install-token-keys", "akua-ca", "akua-webhook-tls", "akua-audit"):
        assert api("GET", core(SYSTEM, "secrets", name), token=token).status == 403, name


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=str)
def test_what_a_stolen_token_opens(api: ApiRequests, tokens: Tokens, attempt: Attempt) -> None:
    answer = attempt.made(api, tokens[attempt.account])
    assert answer.allowed is (not attempt.refused), answer.message
    assert attempt.refused in answer.message

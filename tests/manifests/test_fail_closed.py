"""The component fail-closed on a real API server: what a namespace that fails closed refuses while no webhook answers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from registry_access.model.errors import InvalidRepositoryPattern
from registry_access.model.names.proxied_reference import Proxied, to_proxied
from registry_access.model.names.repository_pattern import parse_repository_pattern
from registry_access.model.resources import PullGrant
from tests.manifests.conftest import once
from tests.support.api_requests import Answer, ApiRequests
from tests.support.kustomize import built, named
from tests.support.pods import pod_manifest

NAMESPACE = "fail-closed"
HOST = "oci.akua.dev"
CASES = Path(__file__).parents[1] / "cases" / "image_references.tsv"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
DIGEST = "@sha256:" + "0" * 64
REFUSED = "was not rewritten as pull grant"


def grant(name: str, images: list[str], selector: dict[str, Any] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"host": HOST, "images": images, "pullSecret": "akua-pull-shop"}
    if selector is not None:
        spec["podSelector"] = selector
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "registry.akua.dev/v1alpha1", "kind": "PullGrant", "metadata": metadata, "spec": spec}


SECRET = "akua-pull-shop"


def pod(*images: str, namespace: str = NAMESPACE, secrets: tuple[str, ...] = (SECRET,), **given: Any) -> dict[str, Any]:
    return pod_manifest(*images, namespace=namespace, imagePullSecrets=[{"name": name} for name in secrets], **given)


def create(api: ApiRequests, manifest: dict[str, Any]) -> Answer:
    return api("POST", f"/api/v1/namespaces/{manifest['metadata']['namespace']}/pods", manifest, dry_run=True)


@pytest.fixture(scope="module", autouse=True)
def namespaces(api: ApiRequests) -> None:
    labelled = {
        NAMESPACE: {"registry.akua.dev/fail-closed": "true"},
        "fail-open": {},
        "only-from": {"registry.akua.dev/only-from": "oci.akua.dev"},
        "only-from-port": {"registry.akua.dev/only-from": "oci.akua.dev_8443"},
    }
    for name, labels in labelled.items():
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        api.apply(manifest, f"/api/v1/namespaces/{name}")


def granted(api: ApiRequests, *grants: dict[str, Any]) -> None:
    """These pull grants and no others, in force."""
    collection = f"/apis/registry.akua.dev/v1alpha1/namespaces/{NAMESPACE}/pullgrants"
    api("DELETE", collection)
    sentinel = grant("sentinel", [f"sentinel.example/{len(grants)}"])
    for manifest in (*grants, sentinel):
        api.apply(manifest, f"{collection}/{manifest['metadata']['name']}")
    # The last one is seen last.
    once(lambda: create(api, pod(sentinel["spec"]["images"][0])), REFUSED)


@pytest.mark.parametrize(
    ("image", "refused"),
    [
        ("redis", True),
        ("redis:7", True),
        (f"redis:7{DIGEST}", True),
        ("library/redis", True),
        ("docker.io/redis", True),
        ("index.docker.io/library/redis:7", True),
        ("registry-1.docker.io/redis", True),
        ("registry.hub.docker.com/library/redis", True),
        ("GHCR.io/acme/app:1", True),
        ("ghcr.io:443/acme/app:1", True),
        ("GHCR.io:00443/acme/app", True),
        ("ghcr.io:443/acme/app@sha512:" + "0" * 128, True),
        ("index.docker.io:443/library/redis", True),
        ("localhost:05000/app:1", True),
        ("localhost:443/app:1", True),
        ("registry:0443/app:1", True),
        ("registry/app:1", False),
        ("ghcr.io:4430/acme/app:1", False),
        (f"ghcr.io/acme/charts/app{DIGEST}", True),
        ("localhost:5000/app:1", True),
        ("localhost/app", True),
        ("ghcr.io/acme", False),
        ("ghcr.io/acmeother/app", False),
        ("nginx", False),
        ("acme/redis", False),
        ("docker.io.example/library/redis", False),
        (f"{HOST}/docker.io/library/redis:7", False),
        (f"{HOST}/ghcr.io/acme/app:1{DIGEST}", False),
    ],
)
def test_what_is_granted_and_not_rewritten_is_refused(api: ApiRequests, granted_table: None, image: str, refused: bool) -> None:
    answer = create(api, pod("nginx", image))
    assert answer.allowed is not refused, answer.message
    if refused:
        assert answer.status == 403
        assert f"{REFUSED} shop says: either no webhook answered (try again once akua-webhook" in answer.message


@pytest.fixture(scope="module")
def granted_table(api: ApiRequests, namespaces: None) -> None:
    images = ["docker.io/library/redis", "ghcr.io/acme/*", "localhost:5000/app", "localhost/app", "registry:443/app"]
    granted(api, grant("shop", images), grant("other", ["docker.io/library/unused"]))


def is_pattern(name: str) -> bool:
    """A grant names registries with a dot, a port, or localhost."""
    try:
        return bool(parse_repository_pattern(name))
    except InvalidRepositoryPattern:
        return False


@pytest.mark.parametrize(
    ("image", "secrets", "refused"),
    [
        (f"{HOST}/ghcr.io/acme/app:1", (), True),
        (f"{HOST}/ghcr.io/acme/app{DIGEST}", ("mine", "akua-pull-other"), True),
        (f"{HOST}/docker.io/redis", (), True),
        (f"{HOST}/localhost_5000/app:1", (), True),
        (f"{HOST}/ghcr.io/acme/app:1", ("mine", SECRET), False),
        (f"{HOST}/ghcr.io/acme/app:1", tuple(f"akua-pull-{number}" for number in range(16)), False),
        (f"{HOST}/quay.io/other/app:1", (), False),
        ("nginx", (), False),
    ],
)
def test_a_new_pod_without_its_pull_secret_is_refused(
    api: ApiRequests, granted_table: None, image: str, secrets: tuple[str, ...], refused: bool
) -> None:
    """Another webhook may have replaced imagePullSecrets: the pod would wait for its image for ever."""
    answer = create(api, pod(image, secrets=secrets))
    assert answer.allowed is not refused, answer.message
    assert ("the pod has no pull Secret akua-pull-shop for" in answer.message) is refused


def test_the_message_says_what_can_be_seen(api: ApiRequests, granted_table: None) -> None:
    ours = create(api, pod("redis", labels={"registry.akua.dev/part": "proxy"}))
    assert "the pod has the label registry.akua.dev/part" in ours.message
    assert api("POST", PODS, pod("nginx", secrets=())).allowed
    try:
        image = {"spec": {"containers": [{"name": "c0", "image": "redis", "imagePullPolicy": "Always"}]}}
        assert "was created without the pull Secret akua-pull-shop" in api("PATCH", f"{PODS}/web", image).message
    finally:
        api("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 0})


def test_every_image_of_the_reference_table_is_judged_as_the_model_judges_it(api: ApiRequests) -> None:
    with CASES.open() as file:
        images = [row["input"] for row in csv.DictReader(file, delimiter="\t") if row["valid"] == "true"]
    proxied = {image: found for image in images if isinstance(found := to_proxied(image, HOST), Proxied)}
    exact = sorted({found.upstream.name for found in proxied.values() if is_pattern(found.upstream.name)})[::2]
    granted(api, grant("shop", [*exact, "example.com/*", "gcr.io/library/*"]))
    model = PullGrant.from_manifest(grant("shop", [*exact, "example.com/*", "gcr.io/library/*"]))
    judged = {image: create(api, pod(image)).allowed for image in proxied}
    expected = {image: not model.covers(found.upstream.registry, found.upstream.repository) for image, found in proxied.items()}
    assert judged == expected
    assert len(set(expected.values())) == 2
    assert all(create(api, pod(found.reference)).allowed for found in proxied.values())


@pytest.mark.parametrize(
    ("selector", "labels", "refused"),
    [
        ({}, {}, True),
        ({"matchLabels": {"app": "shop"}}, {"app": "shop", "tier": "web"}, True),
        ({"matchLabels": {"app": "shop"}}, {"app": "blog"}, False),
        ({"matchLabels": {"app": ""}}, {}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop", "blog"]}]}, {"app": "blog"}, True),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop"]}]}, {}, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]}, {}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]}, {"app": "shop"}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, {"app": ""}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, {"app": ""}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, {"a": "1"}, False),
    ],
)
def test_only_pods_that_the_grant_selects(
    api: ApiRequests, selector: dict[str, Any], labels: dict[str, str], refused: bool
) -> None:
    manifest = grant("shop", ["ghcr.io/acme/app"], selector)
    granted(api, manifest)
    assert PullGrant.from_manifest(manifest).pod_selector.matches(labels) is refused
    assert create(api, pod("ghcr.io/acme/app", labels=labels)).allowed is not refused


def test_init_containers_mirror_pods_other_namespaces_and_our_own_label(api: ApiRequests) -> None:
    granted(api, grant("shop", ["ghcr.io/acme/app"]))
    first = [{"name": "first", "image": "ghcr.io/acme/app"}]
    assert REFUSED in create(api, pod("nginx", initContainers=first)).message
    assert create(api, pod("ghcr.io/acme/app", namespace="fail-open")).allowed
    mirror = pod("ghcr.io/acme/app", nodeName="node")
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "hash"}
    assert REFUSED not in create(api, mirror).message
    # The label that keeps a pod from the webhook is no way around the policy.
    assert REFUSED in create(api, pod("ghcr.io/acme/app", labels={"registry.akua.dev/part": "proxy"})).message


def test_pods_that_are_there_live_on(api: ApiRequests) -> None:
    """What came before the label or the grant can be updated; what an update brings is judged."""
    granted(api)
    assert api("POST", PODS, pod("ghcr.io/acme/app:1")).allowed
    granted(api, grant("shop", ["ghcr.io/acme/app"]))

    def change(body: dict[str, Any], subresource: str = "") -> Answer:
        return api("PATCH", f"{PODS}/web{subresource}", body)

    try:
        assert change({"metadata": {"labels": {"seen": "true"}, "finalizers": None}}).allowed
        image = {"spec": {"containers": [{"name": "c0", "image": "ghcr.io/acme/app:2", "imagePullPolicy": "Always"}]}}
        assert REFUSED in change(image).message
        image["spec"]["containers"][0]["image"] = f"{HOST}/ghcr.io/acme/app:2"
        assert change(image).allowed
        debugger = {
            "name": "debug",
            "image": "ghcr.io/acme/app:3",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "Always",
        }
        ephemeral = {"spec": {"ephemeralContainers": [debugger]}}
        assert REFUSED in change(ephemeral, "/ephemeralcontainers").message
        debugger["image"] = "busybox"
        assert change(ephemeral, "/ephemeralcontainers").allowed
    finally:
        api("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 0})


def test_a_policy_that_does_not_know_pull_grants_yet_refuses_nothing_elsewhere(api: ApiRequests) -> None:
    """A configuration error (paramKind not found, after a restart) is judged before the binding's selector is."""
    policy = named(built("base+fail-closed"), "ValidatingAdmissionPolicy", "akua-fail-closed")
    policy["metadata"]["name"] = "akua-fail-closed-without-kind"
    policy["spec"]["paramKind"]["kind"] = "Nonexistent"
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
    binding = named(built("base+fail-closed"), "ValidatingAdmissionPolicyBinding", "akua-fail-closed")
    binding["metadata"]["name"] = binding["spec"]["policyName"] = policy["metadata"]["name"]
    try:
        api.apply(policy, f"{path}ies/{policy['metadata']['name']}")
        api.apply(binding, f"{path}ybindings/{policy['metadata']['name']}")
        once(lambda: create(api, pod("nginx")), "failed to configure policy")
        assert create(api, pod("nginx", namespace="fail-open")).allowed
        assert create(api, pod(f"{HOST}/ghcr.io/acme/app", namespace="only-from")).allowed
    finally:
        api("DELETE", f"{path}ybindings/{policy['metadata']['name']}")
        api("DELETE", f"{path}ies/{policy['metadata']['name']}")


@pytest.mark.parametrize(
    ("namespace", "image", "secrets", "says"),
    [
        ("only-from", f"{HOST}/ghcr.io/acme/app:1", (SECRET,), ""),
        ("only-from", f"{HOST}/ghcr.io/acme/app:1", ("mine",), "no pull Secret of ours"),
        ("only-from", "ghcr.io/acme/app:1", (SECRET,), "ghcr.io/acme/app:1 is not from there"),
        ("only-from", "redis", (SECRET,), "redis is not from there"),
        ("only-from", f"{HOST}.evil.example/app", (SECRET,), "is not from there"),
        ("only-from-port", f"{HOST}:8443/ghcr.io/acme/app:1", (SECRET,), ""),
        ("only-from-port", f"{HOST}/ghcr.io/acme/app:1", (SECRET,), "takes images from oci.akua.dev:8443 alone"),
    ],
)
def test_a_namespace_may_take_images_from_the_proxy_alone(
    api: ApiRequests, namespace: str, image: str, secrets: tuple[str, ...], says: str
) -> None:
    answer = create(api, pod(image, namespace=namespace, secrets=secrets))
    assert (answer.allowed, says in answer.message) == (not says, True), answer.message


def test_the_largest_grants_and_pods_are_within_the_api_servers_budget(api: ApiRequests) -> None:
    images = [f"registry.example.com/some/rather/long/prefix/repository-{number:03}/*" for number in range(512)]
    granted(api, grant("shop", images))
    many = [f"registry.example.com/some/other/long/prefix/repository-{number:03}:{number}" for number in range(60)]
    assert create(api, pod(*many)).message == ""
    assert REFUSED in create(api, pod(*many, images[-1].replace("*", "app"))).message

"""Rewriting of pods: row by row, and by property."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_access.model.resources.metadata import INSTALLS_ANNOTATION, ORIGINAL_IMAGES_ANNOTATION
from tests.support.pods import HOST, grant, patched, pod
from webhook.admission import rewriting as rewriting_module
from webhook.admission.annotations import TOTAL_MAXIMUM
from webhook.admission.rewriting import MAXIMUM_IMAGES, ImageOutcome, Rewriting, Verdict, judge, rewrite_pod

APP = "ghcr.io/acme/app:1"
PROXIED = f"{HOST}/ghcr.io/acme/app:1"
SHA = "sha256:" + "a" * 64


def create(document: dict[str, Any], *grants: Any) -> Rewriting:
    return rewrite_pod(document, {}, "CREATE", "", grants or (grant(),))


def after(document: dict[str, Any], *grants: Any) -> dict[str, Any]:
    return patched(document, create(document, *grants).operations)


def test_a_pod_gets_its_images_its_secret_and_its_memory() -> None:
    result = after(pod(APP))
    assert result["spec"]["containers"][0]["image"] == PROXIED
    assert result["spec"]["imagePullSecrets"] == [{"name": "akua-pull-shop"}]
    assert json.loads(result["metadata"]["annotations"][ORIGINAL_IMAGES_ANNOTATION]) == {"containers/c0": APP}
    assert result["metadata"]["annotations"][INSTALLS_ANNOTATION] == "shop"


def test_every_image_field_is_rewritten() -> None:
    document = pod(
        APP,
        initContainers=[{"name": "init", "image": "ghcr.io/acme/init@" + SHA}],
        volumes=[{"name": "model", "image": {"reference": "ghcr.io/acme/model:2"}}, {"name": "tmp", "emptyDir": {}}],
    )
    result = after(document)
    assert result["spec"]["initContainers"][0]["image"] == f"{HOST}/ghcr.io/acme/init@{SHA}"
    assert result["spec"]["volumes"][0]["image"]["reference"] == f"{HOST}/ghcr.io/acme/model:2"
    assert set(json.loads(result["metadata"]["annotations"][ORIGINAL_IMAGES_ANNOTATION])) == {
        "containers/c0",
        "initContainers/init",
        "volumes/model",
    }


def test_pull_secrets_are_appended_and_never_replaced() -> None:
    result = after(pod(APP, imagePullSecrets=[{"name": "mine"}]))
    assert result["spec"]["imagePullSecrets"] == [{"name": "mine"}, {"name": "akua-pull-shop"}]
    again = create(pod(APP, imagePullSecrets=[{"name": "akua-pull-shop"}]))
    assert not any("imagePullSecrets" in str(operation["path"]) for operation in again.operations)


def test_other_annotations_stay() -> None:
    document = pod(APP)
    document["metadata"]["annotations"] = {"a/b~c": "kept"}
    assert after(document)["metadata"]["annotations"]["a/b~c"] == "kept"


@pytest.mark.parametrize("broken", ["nonsense", "[1]", "[" * 5000, "7"])
def test_an_annotation_that_is_not_ours_to_read_is_written_anew(broken: str) -> None:
    document = pod(APP)
    document["metadata"]["annotations"] = {ORIGINAL_IMAGES_ANNOTATION: broken}
    assert json.loads(after(document)["metadata"]["annotations"][ORIGINAL_IMAGES_ANNOTATION]) == {"containers/c0": APP}


def test_a_pod_without_metadata_is_rewritten_too() -> None:
    document = {"spec": pod(APP)["spec"]}
    assert after(document)["metadata"]["annotations"][INSTALLS_ANNOTATION] == "shop"


@pytest.mark.parametrize(
    ("document", "grants"),
    [
        (pod(APP), ()),
        (pod(APP) | {"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}, (grant(),)),
        (pod(APP) | {"metadata": {"labels": {"registry.akua.dev/part": "webhook"}}}, (grant(),)),
        (pod(APP), (grant(podSelector={"matchLabels": {"app": "db"}}),)),
        (pod("docker.io/library/redis:7"), (grant(),)),
        ({"spec": []}, (grant(),)),
        (
            {"metadata": [], "spec": {"containers": "x", "volumes": [7], "initContainers": [{"image": 7}, {"name": "n"}]}},
            (grant(),),
        ),
        ({}, (grant(),)),
    ],
)
def test_what_is_left_alone(document: dict[str, Any], grants: tuple[Any, ...]) -> None:
    assert rewrite_pod(document, {}, "CREATE", "", grants).operations == []


def test_an_image_at_the_proxy_only_gets_its_secret() -> None:
    rewriting = create(pod(PROXIED))
    assert rewriting.operations == [{"op": "add", "path": "/spec/imagePullSecrets", "value": [{"name": "akua-pull-shop"}]}]
    assert rewriting.outcomes == [ImageOutcome.ALREADY_PROXIED]
    assert create(pod(f"{HOST}/docker.io/library/redis")).operations == []
    assert create(pod(f"{HOST}/not-an-upstream-name")).operations == []


@pytest.mark.parametrize(
    ("image", "outcome", "warning"),
    [
        ("ghcr.io/other/app:1", ImageOutcome.NOT_GRANTED, "not among what this namespace was granted"),
        ("ghcr.io/acme/App", ImageOutcome.INVALID, "lower case"),
        ("[::1]:5000/app", ImageOutcome.NOT_EXPRESSIBLE, "IPv6"),
        ("ghcr.io/acme/" + "a" * 230, ImageOutcome.NOT_EXPRESSIBLE, "longer than"),
        ("quay.io/other/app", ImageOutcome.NOT_GRANTED, ""),
    ],
)
def test_what_is_not_rewritten_says_why(image: str, outcome: ImageOutcome, warning: str) -> None:
    rewriting = create(pod(image))
    assert rewriting.outcomes == [outcome]
    assert rewriting.operations == []
    assert warning in "".join(rewriting.warnings)
    assert bool(rewriting.warnings) is bool(warning)


def test_two_installs_share_a_namespace_by_pod_selector() -> None:
    shop = grant("shop", podSelector={"matchLabels": {"app": "web"}})
    blog = grant("blog", podSelector={"matchLabels": {"app": "blog"}})
    assert after(pod(APP), shop, blog)["spec"]["imagePullSecrets"] == [{"name": "akua-pull-shop"}]


def test_installs_that_overlap_both_give_their_token_and_a_warning() -> None:
    rewriting = create(pod(APP), grant("blog"), grant("shop"))
    result = patched(pod(APP), rewriting.operations)
    assert [secret["name"] for secret in result["spec"]["imagePullSecrets"]] == ["akua-pull-blog", "akua-pull-shop"]
    assert result["metadata"]["annotations"][INSTALLS_ANNOTATION] == "blog,shop"
    assert "several installs (blog, shop)" in rewriting.warnings[0]


def test_grants_of_two_hosts_each_rewrite_to_their_own() -> None:
    other = grant("other", ("quay.io/team/*",), host="oci.other.example")
    result = after(pod(APP, "quay.io/team/tool"), grant(), other)
    assert [container["image"] for container in result["spec"]["containers"]] == [PROXIED, "oci.other.example/quay.io/team/tool"]
    long = "quay.io/team/" + "a" * (255 - len(f"{HOST}/quay.io/team/"))
    assert "longer than" in create(pod(long), grant(), other).warnings[0]
    assert "longer than" in create(pod(long), grant("a-grant-before"), other).warnings[0]


def test_an_update_touches_only_the_image_that_it_changes() -> None:
    old = after(pod(APP, "ghcr.io/acme/sidecar:1"))
    new = json.loads(json.dumps(old))
    new["spec"]["containers"][0]["image"] = "ghcr.io/acme/app:2"
    rewriting = rewrite_pod(new, old, "UPDATE", "", (grant(),))
    assert {operation["path"] for operation in rewriting.operations} == {
        "/spec/containers/0/image",
        "/metadata/annotations/registry.akua.dev~1original-images",
    }
    assert patched(new, rewriting.operations)["spec"]["containers"][0]["image"] == f"{HOST}/ghcr.io/acme/app:2"


def test_an_update_of_a_pod_from_before_the_grant_is_left_alone() -> None:
    old, new = pod(APP), pod("ghcr.io/acme/app:2")
    rewriting = rewrite_pod(new, old, "UPDATE", "", (grant(),))
    assert rewriting.operations == []
    assert rewriting.outcomes == [ImageOutcome.NO_SECRET]
    assert "create it again" in rewriting.warnings[0]


def test_ephemeral_containers_are_diffed_against_what_was_there() -> None:
    old = after(pod(APP))
    old["spec"]["ephemeralContainers"] = [{"name": "first", "image": "ghcr.io/acme/debug:1"}]
    new = json.loads(json.dumps(old))
    new["spec"]["ephemeralContainers"].append({"name": "second", "image": "ghcr.io/acme/debug:2"})
    rewriting = rewrite_pod(new, old, "UPDATE", "ephemeralcontainers", (grant(),))
    assert rewriting.operations == [
        {"op": "replace", "path": "/spec/ephemeralContainers/1/image", "value": f"{HOST}/ghcr.io/acme/debug:2"}
    ]


def replaced(manifest: dict[str, Any], *grants: Any, old: dict[str, Any] | None = None) -> tuple[dict[str, Any], Rewriting]:
    """`kubectl replace` of the admitted pod of `manifest` by the manifest itself."""
    admitted = after(manifest, *grants) if old is None else old
    rewriting = rewrite_pod(manifest, admitted, "UPDATE", "", grants or (grant(),))
    return patched(manifest, rewriting.operations), rewriting


def test_a_pod_is_replaced_by_its_own_manifest() -> None:
    for manifest in (pod(APP), pod(APP, imagePullSecrets=[{"name": "mine"}]), pod(PROXIED)):
        result, rewriting = replaced(manifest)
        assert result == after(manifest)
        assert rewriting.warnings == []


def test_what_a_service_account_added_is_put_back_with_our_secret() -> None:
    admitted = after(pod(APP, imagePullSecrets=[{"name": "of-the-account"}]))
    assert replaced(pod(APP), old=admitted)[0] == admitted


@pytest.mark.parametrize(
    ("before", "manifest"),
    [
        (["mine"], []),
        (["mine", "akua-pull-shop"], ["other"]),
        (["mine", "akua-pull-shop"], ["akua-pull-shop", "mine"]),
        (["akua-pull-shop"], ["akua-pull-shop"]),
        (["akua-pull-shop"], ["akua-pull-shop", "mine"]),
    ],
)
def test_pull_secrets_that_a_person_changed_are_for_the_api_server_to_refuse(before: list[str], manifest: list[str]) -> None:
    old = pod("redis", imagePullSecrets=[{"name": name} for name in before])
    new = pod("redis", imagePullSecrets=[{"name": name} for name in manifest])
    assert replaced(new, old=old)[1].operations == []


def test_of_several_grants_an_update_uses_those_whose_secret_the_pod_has() -> None:
    old = after(pod(APP), grant("shop"))
    new = json.loads(json.dumps(old))
    new["spec"]["containers"][0]["image"] = "ghcr.io/acme/app:2"
    rewriting = rewrite_pod(new, old, "UPDATE", "", (grant("blog"), grant("shop")))
    result = patched(new, rewriting.operations)
    assert result["metadata"]["annotations"][INSTALLS_ANNOTATION] == "shop"
    assert list(rewriting.grants) == ["shop"]
    assert rewriting.warnings == []
    other = grant("blog", host="oci.other.example")
    rewriting = rewrite_pod(new, old, "UPDATE", "", (other, grant("shop")))
    assert patched(new, rewriting.operations)["spec"]["containers"][0]["image"] == f"{HOST}/ghcr.io/acme/app:2"


@pytest.mark.parametrize("image", ["redis:7", "ghcr.io/other/app:1", f"{HOST}/ghcr.io/acme/app:9"])
@pytest.mark.parametrize("grants", [(grant(),), ()])
def test_the_annotation_never_speaks_of_an_image_that_is_gone(image: str, grants: tuple[Any, ...]) -> None:
    old = after(pod(APP))
    new = json.loads(json.dumps(old))
    new["spec"]["containers"][0]["image"] = image
    result = patched(new, rewrite_pod(new, old, "UPDATE", "", grants).operations)
    assert result["metadata"]["annotations"] == {}


def test_the_annotation_keeps_what_an_update_leaves_alone() -> None:
    blog = grant("blog", ("ghcr.io/blog/*",))
    old = after(pod(APP, "ghcr.io/blog/side:1"), grant(), blog)
    new = json.loads(json.dumps(old))
    new["spec"]["containers"][0]["image"] = "redis"
    result = patched(new, rewrite_pod(new, old, "UPDATE", "", (grant(), blog)).operations)
    assert json.loads(result["metadata"]["annotations"][ORIGINAL_IMAGES_ANNOTATION]) == {"containers/c1": "ghcr.io/blog/side:1"}
    assert result["metadata"]["annotations"][INSTALLS_ANNOTATION] == "blog"
    # Of a grant that is gone nobody can tell which image came through it.
    result = patched(new, rewrite_pod(new, old, "UPDATE", "", (grant(),)).operations)
    assert result["metadata"]["annotations"][INSTALLS_ANNOTATION] == "blog,shop"


def test_an_annotation_that_came_with_another_pods_manifest_is_made_right() -> None:
    document = pod(APP, "redis")
    spoilt = {"containers/c0": "ghcr.io/acme/old:1", "containers/c1": APP, "containers/gone": APP, "containers/c2": "x" * 2000}
    document["metadata"]["annotations"] = {ORIGINAL_IMAGES_ANNOTATION: json.dumps(spoilt), INSTALLS_ANNOTATION: "gone"}
    annotations = after(document)["metadata"]["annotations"]
    assert json.loads(annotations[ORIGINAL_IMAGES_ANNOTATION]) == {"containers/c0": APP}
    assert annotations[INSTALLS_ANNOTATION] == "shop"


@pytest.mark.parametrize("free", [0, 20, 60, 90, 200])
def test_the_annotation_never_gets_a_pod_refused(free: int) -> None:
    document = pod(APP)
    document["metadata"]["annotations"] = {"é": "x" * (TOTAL_MAXIMUM - 2 - free)}
    rewriting = create(document)
    result = patched(document, rewriting.operations)
    assert result["spec"]["containers"][0]["image"] == PROXIED
    annotations = result["metadata"]["annotations"]
    assert sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) <= TOTAL_MAXIMUM
    kept = ORIGINAL_IMAGES_ANNOTATION in annotations
    assert bool(rewriting.warnings) is not kept
    assert kept is (free == 200)
    assert create(result).operations == []


def test_an_annotation_that_no_longer_fits_is_removed() -> None:
    old = after(pod("ghcr.io/acme/a:1"))
    old["metadata"]["annotations"]["other"] = ""
    room = TOTAL_MAXIMUM - sum(len(key) + len(value) for key, value in old["metadata"]["annotations"].items())
    old["metadata"]["annotations"]["other"] = "x" * room
    new = json.loads(json.dumps(old))
    new["spec"]["containers"][0]["image"] = "ghcr.io/acme/a:2-longer"
    result = patched(new, rewrite_pod(new, old, "UPDATE", "", (grant(),)).operations)
    assert ORIGINAL_IMAGES_ANNOTATION not in result["metadata"]["annotations"]


@pytest.mark.parametrize("written", ["OCI.Akua.dev", "oci.akua.dev:443"])
def test_the_proxys_host_is_written_as_the_kubelet_matches_it(written: str) -> None:
    result = after(pod(f"{written}/ghcr.io/acme/app:1", f"{written}/ghcr.io/other/app:1"))
    assert [each["image"] for each in result["spec"]["containers"]] == [PROXIED, f"{written}/ghcr.io/other/app:1"]
    assert result["spec"]["imagePullSecrets"] == [{"name": "akua-pull-shop"}]
    assert create(result).operations == []


@pytest.mark.parametrize("image", ["ghcr.io:443/acme/app:1", "GHCR.io:0443/acme/app:1"])
def test_the_default_port_is_no_way_past_a_grant(image: str) -> None:
    assert after(pod(image))["spec"]["containers"][0]["image"] == PROXIED


def test_a_sha512_digest_is_a_digest() -> None:
    image = "ghcr.io/acme/app@sha512:" + "f" * 128
    assert after(pod(image))["spec"]["containers"][0]["image"] == f"{HOST}/{image}"


def test_what_no_client_can_pull_is_not_even_parsed() -> None:
    rewriting = create(pod("ghcr.io/acme/" + "a-" * 700_000))
    assert rewriting.outcomes == [ImageOutcome.INVALID]
    assert len(rewriting.warnings[0]) < 256


def test_a_pod_of_thousands_of_images_is_rewritten_up_to_a_bound() -> None:
    document = pod(*[f"ghcr.io/acme/app-{number}" for number in range(MAXIMUM_IMAGES + 5)])
    rewriting = create(document)
    counted = [rewriting.outcomes.count(outcome) for outcome in (ImageOutcome.REWRITTEN, ImageOutcome.TOO_MANY)]
    assert counted == [MAXIMUM_IMAGES, 5]
    assert "5 of them" in rewriting.warnings[0]
    patched(document, rewriting.operations)


def test_one_image_in_many_containers_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    def counted(image: str, *rest: Any) -> Verdict:
        judged.append(image)
        return judge(image, *rest)

    monkeypatch.setattr(rewriting_module, "judge", counted)
    create(pod(*[APP] * 500, "redis"))
    assert judged == [APP, "redis"]


def test_many_installs_of_one_image_are_bounded() -> None:
    rewriting = create(pod(APP), *(grant(f"g{number:02}") for number in range(40)))
    result = patched(pod(APP), rewriting.operations)
    assert len(result["spec"]["imagePullSecrets"]) == 16
    assert "at most 16 are used" in rewriting.warnings[0]


@pytest.mark.parametrize(
    ("operation", "subresource"), [("DELETE", ""), ("CONNECT", ""), ("UPDATE", "status"), ("CREATE", "binding")]
)
def test_other_operations_are_none_of_ours(operation: str, subresource: str) -> None:
    assert rewrite_pod(pod(APP), {}, operation, subresource, (grant(),)).operations == []


images = st.one_of(
    st.sampled_from(
        [APP, PROXIED, "redis", "ghcr.io/acme/x/y@" + SHA, "localhost:5000/a", "[::1]/a", "ghcr.io/other/a", "oci.akua.dev/x"]
    ),
    st.text(max_size=30),
)
pods = st.builds(
    lambda names, extra: pod(*names, **extra),
    st.lists(images, max_size=4),
    st.fixed_dictionaries({}, optional={"imagePullSecrets": st.lists(st.just({"name": "mine"}), max_size=1)}),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda c: (
        st.lists(c, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "spec",
                    "containers",
                    "image",
                    "name",
                    "labels",
                    "annotations",
                    "volumes",
                    "reference",
                    "imagePullSecrets",
                ]
            ),
            c,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(pods)
def test_rewriting_its_own_result_changes_nothing(document: dict[str, Any]) -> None:
    once = after(document)
    assert create(once).operations == []


@given(st.dictionaries(st.sampled_from(["metadata", "spec"]), anything), anything)
def test_whatever_comes_the_patch_fits(document: dict[str, Any], old: Any) -> None:
    for operation, subresource in (("CREATE", ""), ("UPDATE", ""), ("UPDATE", "ephemeralcontainers")):
        before = old if isinstance(old, dict) else {}
        patched(
            document,
            rewrite_pod(document, before, operation, subresource, (grant(images=("docker.io/*", "ghcr.io/*")),)).operations,
        )


def test_each_pull_secret_of_a_pod_is_looked_at_once_however_many_grants_there_are() -> None:
    """Secrets times grants: 200,000 names in a pod of 3 MiB and a thousand installs stopped admission for seconds."""
    compared = 0

    class Name(str):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    document = pod(*(f"ghcr.io/acme/app-{number}" for number in range(100)))
    document["spec"]["imagePullSecrets"] = [{"name": Name(f"own-{number}")} for number in range(1000)]
    grants = tuple(grant(f"shop-{number}", images=(f"ghcr.io/acme/app-{number}",)) for number in range(100))
    assert len(create(document, *grants).operations) >= 200
    assert compared < 1000

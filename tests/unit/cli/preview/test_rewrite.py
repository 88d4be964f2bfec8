"""`akua rewrite` shows what admission would do, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.conftest import Akua

POD = {"metadata": {}, "spec": {"containers": [{"name": "web", "image": "ghcr.io/acme/app:1"}]}}
APP, PROXIED = "ghcr.io/acme/app:1", "oci.akua.dev/ghcr.io/acme/app:1"


@pytest.fixture
def granted(akua: Akua) -> Akua:
    akua("install", "create", "shop", "-r", "ghcr.io/acme/*", "-n", "shop-prod")
    assert akua("install", "sync", "--all").code == 0
    return akua


def test_pods_and_the_templates_of_workloads(granted: Akua, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    documents: list[Any] = [
        {"kind": "Pod", **POD},
        {"kind": "Deployment", "metadata": {"namespace": "shop-prod"}, "spec": {"template": POD}},
        {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": POD}}}},
        {"kind": "PodTemplate", "template": POD},
        {"kind": "RayCluster", "spec": {"workers": [{"template": POD}]}},
        {
            "kind": "List",
            "items": [{"kind": "Pod", **POD}, {"kind": "List", "items": [{"kind": "Job", "spec": {"template": POD}}]}],
        },
        {"kind": "Service", "spec": {}},
        {"kind": "Pod", **POD, "metadata": {"namespace": "elsewhere"}},
        {"kind": "List", "items": [{"kind": "Pod", **POD, "metadata": {"namespace": "elsewhere"}}]},
        {"kind": "Template", "objects": [{"kind": "Pod", **POD, "metadata": {"namespace": "elsewhere"}}]},
    ]
    text = yaml.safe_dump_all([json.loads(json.dumps(document)) for document in documents])
    file.write_text(text)
    before = {path: path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    rewritten, *elsewhere = text.rpartition("kind: Service")
    ran = granted("rewrite", "-n", "shop-prod", str(file))
    assert ran.out == rewritten.replace(APP, PROXIED) + "".join(elsewhere)
    assert {path: path.read_bytes() for path in before} == before

    shown = granted("rewrite", "-n", "shop-prod", "-o", "json", str(file)).document
    nested = shown[5]["items"][1]["items"][0]["spec"]["template"]
    ray = shown[4]["spec"]["workers"][0]["template"]
    for found in (shown[0], shown[1]["spec"]["template"], shown[2]["spec"]["jobTemplate"]["spec"]["template"], nested, ray):
        assert found["spec"]["containers"][0]["image"] == PROXIED
        assert found["spec"]["imagePullSecrets"] == [{"name": "akua-pull-shop"}]
    assert shown[6:] == documents[6:]


AS_WRITTEN = """\
# A comment, 0400 and "yes" stay.\r
kind: Pod
metadata: {labels: {app: "yes", mode: 'on'}, annotations: {since: 2026-01-01, at: 12:30:45}}
spec:
  securityContext: { fsGroup: 0400 , runAsUser: 010 }   # octal
  containers:
    - name:   web
      image:   'ghcr.io/acme/app:1'   # this one
      args: ["ghcr.io/acme/app:1", no, ~, 1_000, 1e3]
    - {name: side, "image": "ghcr.io/acme/side:2"}
    - name: long
      image: >-
        ghcr.io/acme/long@sha256:SHA
    - name: other
      image: redis
...
---
"""


def test_the_authors_text_stays_but_for_the_images(granted: Akua, tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    written = AS_WRITTEN.replace("SHA", "a" * 64).encode()
    file.write_bytes(b"\xef\xbb\xbf" + written.replace(b"\n", b"\r\n"))
    wanted = file.read_bytes().replace(b"'ghcr.io", b"'oci.akua.dev/ghcr.io").replace(b'"image": "', b'"image": "oci.akua.dev/')
    wanted = wanted.replace(b" ghcr.io/acme/long", b" oci.akua.dev/ghcr.io/acme/long")
    assert granted("rewrite", "-n", "shop-prod", str(file)).out.encode() == wanted


def test_json_is_what_kubectl_makes_of_the_yaml(granted: Akua) -> None:
    shown = granted("rewrite", "-n", "shop-prod", "-o", "json", stdin=AS_WRITTEN.replace("SHA", "a" * 64)).document[0]
    assert shown["spec"]["securityContext"] == {"fsGroup": 256, "runAsUser": 8}
    assert shown["spec"]["containers"][0]["args"] == [APP, False, None, 1000, 1000]
    assert shown["metadata"]["labels"] == {"app": "yes", "mode": "on"}
    assert shown["metadata"]["annotations"]["since"] == "2026-01-01"
    assert shown["metadata"]["annotations"]["at"] == "12:30:45"


def test_json_manifests_keep_their_tabs(granted: Akua) -> None:
    text = json.dumps({"kind": "Pod", **POD}, indent="\t") + "\n"
    assert granted("rewrite", "-n", "shop-prod", stdin=text).out == text.replace(APP, PROXIED)
    assert granted("rewrite", stdin='{\t"a": \tb}').code == 2


def test_aliases_and_merge_keys(granted: Akua) -> None:
    text = """\
base: &base {image: ghcr.io/acme/app:1, name: one}
kind: Pod
spec:
  containers:
    - *base
    - {<<: *base, name: two}
    - {<<: [{name: three}, *base]}
"""
    assert granted("rewrite", "-n", "shop-prod", stdin=text).out == text.replace(APP, PROXIED)
    shown = granted("rewrite", "-n", "shop-prod", "-o", "json", stdin=text).document[0]["spec"]["containers"]
    assert [(each["name"], each["image"]) for each in shown] == [("one", PROXIED), ("two", PROXIED), ("three", PROXIED)]


@pytest.mark.parametrize(
    ("image", "also"),
    [
        ("&image ghcr.io/acme/app:1", "env: [{name: IMAGE, value: *image}]"),
        ("&image !!str 'ghcr.io/\n\n  acme/app:1'", "args: []"),
    ],
)
def test_an_image_whose_text_is_also_something_else_is_left_with_a_warning(granted: Akua, image: str, also: str) -> None:
    text = f"kind: Pod\nspec:\n  containers:\n  - image: {image}\n    {also}\n"
    ran = granted("rewrite", "-n", "shop-prod", stdin=text)
    assert (ran.code, ran.out) == (0, text)
    assert "is left as it is" in ran.err


def test_escapes_in_an_image_are_written_out(granted: Akua) -> None:
    text = 'kind: Pod\nspec: {containers: [{image: "ghcr.io\\/acme\\x2fapp:1"}]}\n'
    assert f'image: "{PROXIED}"' in granted("rewrite", "-n", "shop-prod", stdin=text).out


def test_one_text_with_two_namespaces_is_left_with_a_warning(granted: Akua) -> None:
    text = """\
kind: List
items:
  - {kind: Pod, metadata: {namespace: shop-prod}, spec: {containers: [{image: &image ghcr.io/acme/app:1}]}}
  - {kind: Pod, metadata: {namespace: elsewhere}, spec: {containers: [{image: *image}]}}
"""
    ran = granted("rewrite", stdin=text)
    assert ran.out == text
    assert "is left as it is" in ran.err


def test_warnings_are_said_and_json_is_for_scripts(granted: Akua) -> None:
    ran = granted(
        "rewrite", "-n", "shop-prod", "-o", "json", stdin="kind: Pod\nspec: {containers: [{name: x, image: 'ghcr.io/other'}]}\n"
    )
    assert ran.document[0]["spec"]["containers"][0]["image"] == "ghcr.io/other"
    assert ran.err.startswith("warning: ghcr.io/other is not among")


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n" for number in range(1, 9)
)
MERGES = "m0: &m0 {x: 1}\n" + "".join(
    f"m{number}: &m{number} {{<<: [{', '.join([f'*m{number - 1}'] * 10)}]}}\n" for number in range(1, 9)
)


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "- 1\n- x: {",
        "\x00",
        b"\xff\xfe\x00",
        "a: *missing",
        "&a [*a]",
        "kind: List\nitems: &items\n  - {kind: List, items: *items}\n",
        "[" * 3000,
        "[" * 300 + "]" * 300,
        "? [1]\n: 2\n? {",
        "%YAML 9.0\n--- a",
        "a: !!python/object:os.system {",
        "a: b: c",
        "\ta: 1",
        LAUGHS,
        MERGES,
    ],
)
@pytest.mark.parametrize("output", ["json", "table"])
def test_what_cannot_be_read_is_one_line(akua: Akua, text: str | bytes, output: str) -> None:
    ran = akua("rewrite", "-o", output, stdin=text)
    assert (ran.code, ran.err.count("\n"), ran.out) == (2, 1, "")
    assert "standard input" in ran.err
    assert "internal error" not in ran.err


def test_documents_that_are_no_manifests_pass_through(akua: Akua) -> None:
    text = "- 1\n---\nkind: Pod\nspec: 3\n---\nkind: Deployment\nspec: {template: 4}\n---\nkind: 7\n? [a]\n: {1: x, ~: .inf}\n"
    assert akua("rewrite", stdin=text).out == text
    shown = akua("rewrite", "-o", "json", stdin=text).document
    assert shown == [[1], {"kind": "Pod", "spec": 3}, {"kind": "Deployment", "spec": {"template": 4}}, {"kind": 7}]
    for odd in ("", "\n", "---\n", "kind: List\nitems: 7\n", "kind: List\n", "kind: Pod\nmetadata: x\nspec: {containers: [1]}\n"):
        assert akua("rewrite", stdin=odd).out == odd
    assert akua("rewrite", "/nowhere.yaml").code == 2

"""`akua rewrite` shows what admission would do, and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.unit.cli.conftest import Akua

POD = {"metadata": {}, "spec": {"containers": [{"name": "web", "image": "ghcr.io/acme/app:1"}]}}


def read(text: str) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(text))


@pytest.fixture
def granted(akua: Akua) -> Akua:
    akua("install", "create", "shop", "-r", "ghcr.io/acme/*", "-n", "shop-prod")
    assert akua("install", "sync", "--all").code == 0
    return akua


def test_pods_and_the_templates_of_workloads(granted: Akua, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    documents = [
        {"kind": "Pod", **POD},
        {"kind": "Deployment", "metadata": {"namespace": "shop-prod"}, "spec": {"template": POD}},
        {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": POD}}}},
        {"kind": "Service", "spec": {}},
        {"kind": "Pod", **POD, "metadata": {"namespace": "elsewhere"}},
    ]
    with file.open("w") as out:
        YAML(typ="safe", pure=True).dump_all(documents, out)
    before = {path: path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    pod, deployment, job, service, elsewhere = read(granted("rewrite", "-n", "shop-prod", str(file)).out)
    for found in (pod, deployment["spec"]["template"], job["spec"]["jobTemplate"]["spec"]["template"]):
        assert found["spec"]["containers"][0]["image"] == "oci.akua.dev/ghcr.io/acme/app:1"
        assert found["spec"]["imagePullSecrets"] == [{"name": "akua-pull-shop"}]
    assert service == documents[3]
    assert elsewhere == documents[4]
    assert {path: path.read_bytes() for path in before} == before


def test_warnings_are_said_and_json_is_for_scripts(granted: Akua) -> None:
    ran = granted(
        "rewrite", "-n", "shop-prod", "-o", "json", stdin="kind: Pod\nspec: {containers: [{name: x, image: 'ghcr.io/other'}]}\n"
    )
    assert ran.document[0]["spec"]["containers"][0]["image"] == "ghcr.io/other"
    assert ran.err.startswith("warning: ghcr.io/other is not among")


@pytest.mark.parametrize("text", ["a: [", "- 1\n- x: {", "\x00"])
def test_what_is_no_yaml_is_one_line(akua: Akua, text: str) -> None:
    ran = akua("rewrite", stdin=text)
    assert (ran.code, ran.err.count("\n")) == (2, 1)


def test_documents_that_are_no_manifests_pass_through(akua: Akua) -> None:
    assert read(akua("rewrite", stdin="- 1\n---\nkind: Pod\nspec: 3\n---\nkind: Deployment\nspec: {template: 4}\n").out) == [
        [1],
        {"kind": "Pod", "spec": 3},
        {"kind": "Deployment", "spec": {"template": 4}},
    ]
    assert akua("rewrite", "/nowhere.yaml").code == 2

"""Workspaces, products and installs by command: what they write, show, refuse."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import jwt
from ruamel.yaml import YAML

from tests.unit.cli.conftest import Akua


def bought(akua: Akua) -> None:
    assert akua("product", "create", "storefront", "ghcr.io/acme/storefront", "ghcr.io/acme/charts/*").code == 0
    assert akua("install", "create", "shop", "-p", "storefront", "-n", "shop-prod").code == 0


def test_the_first_creation_makes_the_workspace(akua: Akua) -> None:
    bought(akua)
    listed = akua("workspace", "list", "-o", "json").document
    assert listed == [{"name": "default", "credentials": 0, "products": 1, "installs": 1}]
    assert "default" in akua("workspace", "list").out


def test_with_several_workspaces_one_must_be_named(akua: Akua) -> None:
    bought(akua)
    assert akua("workspace", "create", "other").code == 0
    ran = akua("install", "list")
    assert ran.code == 2
    assert "default, other" in ran.err
    assert akua("install", "list", "-w", "other", "-o", "json").document == []
    ran = akua("install", "list", "-w", "nowhere")
    assert (ran.code, "default, other" in ran.err) == (1, True)


def test_install_life(akua: Akua) -> None:
    bought(akua)
    shown = akua("install", "show", "shop", "-o", "json").document
    assert shown["entitlement"] == ["ghcr.io/acme/charts/*", "ghcr.io/acme/storefront"]
    assert shown["spec"]["targets"] == [{"namespace": "shop-prod"}]
    assert akua("install", "revoke", "shop", "-o", "json").document["spec"]["revoked"] is True
    assert "revoked" in akua("install", "list").out
    assert "revoked" in akua("install", "show", "shop").out
    assert "revoked" not in akua("install", "restore", "shop", "-o", "json").document["spec"]
    assert akua("install", "rotate", "shop", "-o", "json").document["spec"]["tokenGeneration"] == 2
    assert akua("install", "delete", "shop", "-o", "json").document == {"deleted": "shop"}
    ran = akua("install", "show", "shop")
    assert ran.code == 1
    assert ran.err.strip() == "akua: workspace default has no install shop"


def test_a_name_that_is_not_there_names_its_neighbours(akua: Akua) -> None:
    bought(akua)
    assert "known: shop" in akua("install", "revoke", "shpo").err
    assert "known: storefront" in akua("product", "delete", "store").err


def test_install_options_become_its_spec(akua: Akua) -> None:
    ran = akua(
        "install",
        "create",
        "trial",
        "-r",
        "ghcr.io/acme/*",
        "-n",
        "a",
        "-n",
        "b",
        "--pods",
        "app=web",
        "--expires",
        "14d",
        "-o",
        "json",
    )
    spec = ran.document["spec"]
    selector = {"matchLabels": {"app": "web"}}
    assert spec["targets"] == [{"namespace": "a", "podSelector": selector}, {"namespace": "b", "podSelector": selector}]
    assert spec["expiresAt"].endswith("Z")


def test_wrong_input_is_one_line_with_the_field_and_the_way_out(akua: Akua) -> None:
    for arguments, said in (
        (("install", "create", "x"), "name a product, or list repositories"),
        (("install", "create", "x", "-r", "acme"), "write registry/repository"),
        (("install", "create", "x", "-r", "ghcr.io/a", "--expires", "soon"), "spec.expiresAt"),
        (("install", "create", "x", "-r", "ghcr.io/a", "--pods", "app"), "name=value"),
        (("install", "sync"), "--all"),
        (("product", "create", "x", "NOPE"), "repositories"),
    ):
        ran = akua(*arguments)
        assert ran.code == 2, arguments
        assert said in ran.err, arguments
        assert ran.err.count("\n") == 1, arguments
        assert "Traceback" not in ran.err


def test_token_is_the_installs_and_for_the_host(akua: Akua) -> None:
    bought(akua)
    found = akua("install", "token", "shop", "-o", "json").document
    claims = jwt.decode(found["password"], options={"verify_signature": False})
    assert (claims["aud"], claims["sub"], claims["jti"]) == ("oci.akua.dev", "install:default/shop", found["id"])
    assert akua("install", "token", "shop").out.count(".") == 2
    docker = akua("install", "token", "shop", "--docker-config").document
    user, _, password = base64.b64decode(docker["auths"]["oci.akua.dev"]["auth"]).decode().partition(":")
    assert (user, password.count(".")) == ("shop", 2)


def test_sync_provisions_and_bundle_prints_the_same(akua: Akua, tmp_path: Path) -> None:
    bought(akua)
    synced = akua("install", "sync", "--all", "-o", "json").document
    assert synced[0]["status"]["targets"] == [{"namespace": "shop-prod", "synced": True}]
    assert "synced" in akua("install", "sync", "shop").out
    bundle = list(YAML(typ="safe", pure=True).load_all(akua("install", "bundle", "shop").out))
    assert [item["kind"] for item in bundle] == ["Secret", "PullGrant"]
    written = YAML(typ="safe", pure=True).load(tmp_path / "state/shop-prod/secret-akua-pull-shop.yaml")
    assert written["data"] == bundle[0]["data"]
    assert [item["kind"] for item in akua("install", "bundle", "shop", "-o", "json").document["items"]] == ["Secret", "PullGrant"]


def test_a_bundle_needs_a_target(akua: Akua) -> None:
    akua("install", "create", "cli", "-r", "ghcr.io/acme/*")
    ran = akua("install", "bundle", "cli")
    assert (ran.code, "target namespace" in ran.err) == (2, True)


def test_deleting_a_product_in_use_asks(akua: Akua) -> None:
    bought(akua)
    assert akua("product", "delete", "storefront", stdin="n\n").code == 1
    assert akua("product", "delete", "storefront", "-y", "-o", "json").document == {"deleted": "storefront", "installs": ["shop"]}
    assert akua("product", "list", "-o", "json").document == []
    assert "no products yet" in akua("product", "list").err


def test_explain_says_which_gate(akua: Akua) -> None:
    bought(akua)
    ran = akua("explain", "shop", "redis", "-o", "json")
    assert ran.code == 3
    assert (ran.document["gate"], ran.document["reason"]) == ("entitlement", "not-entitled")
    assert [gate["outcome"] for gate in ran.document["gates"]] == [
        *["passed"] * 3,
        *["refused"] * 2,  # the credential is missing too: every gate that can be asked is
        "passed",
        *["not-asked"] * 2,
    ]
    assert akua("explain", "shop", "oci.akua.dev/ghcr.io/acme/storefront:1", "-o", "json").document["gate"] == "credential"
    akua("credential", "add", "ghcr", "-u", "octocat", stdin="token\n")
    ran = akua("explain", "shop", "ghcr.io/acme/storefront:1")
    assert (ran.code, "may pull" in ran.out) == (0, True)
    assert json.loads(akua("explain", "shop", "ghcr.io/acme/storefront:1", "-o", "json").out)["allowed"] is True
    assert akua("explain", "shop", "not an image", "-o", "json").document["gate"] == "path"
    assert akua("explain", "shop", "oci.akua.dev/nowhere", "-o", "json").document["gate"] == "path"


def test_in_a_folder_there_is_no_cluster_to_ask_for_pods(akua: Akua) -> None:
    bought(akua)
    for command in (("install", "pods", "shop"), ("credential", "usage", "ghcr")):
        ran = akua(*command)
        assert (ran.code, ran.out) == (2, "")
        assert "cannot search for pods without a cluster: state is in a folder" in ran.err


def test_an_install_of_a_product_that_is_not_there_is_created_with_a_warning(akua: Akua) -> None:
    bought(akua)
    ran = akua("install", "create", "other", "--product", "storefrnt")
    assert (ran.code, "product storefrnt does not exist yet" in ran.err) == (0, True)
    ran = akua("install", "create", "third", "--product", "storefrnt", "-o", "json")
    assert (ran.code, ran.document["metadata"]["name"]) == (0, "third")
    assert "does not exist" not in akua("install", "create", "fourth", "--product", "storefront").err


def test_the_doctor_counts_one_of_a_kind_in_the_singular(akua: Akua) -> None:
    bought(akua)
    assert "read: 1 install, 1 product, 0 credentials" in akua("doctor").out

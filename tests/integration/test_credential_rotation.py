"""`akua credential test` and `rotate --verify` against a real registry, beside a running `akua serve`."""

from __future__ import annotations

import json

import httpx

from tests.integration.conftest import proxied
from tests.support.akua_process import AkuaProcess
from tests.support.docker_registry import PASSWORD, USERNAME, DockerRegistry
from tests.support.proxied_world import basic


def conditions(akua: AkuaProcess) -> dict[str, tuple[str, str]]:
    shown = json.loads(akua.run("credential", "show", "upstream", "-w", "acme", "-o", "json").stdout)
    return {item["type"]: (item["status"], item["reason"]) for item in shown.get("status", {}).get("conditions", [])}


def pull(akua: AkuaProcess, upstream: DockerRegistry) -> int:
    name = proxied(akua, upstream, "acme/app").partition("/")[2]
    accept = "application/vnd.oci.image.manifest.v1+json"
    headers = {"Authorization": basic(akua.token("shop"), "shop"), "Accept": accept}
    return httpx.get(f"http://{akua.host}/v2/{name}/manifests/1.0", headers=headers).status_code


def test_a_credential_is_tried_and_its_status_says_so(akua: AkuaProcess, upstream: DockerRegistry) -> None:
    works = akua.run("credential", "test", "upstream", f"{upstream.authority}/acme/app:1.0", "-w", "acme")
    assert "works" in works.stderr
    assert conditions(akua)["Verified"] == ("True", "Works")
    absent = akua.run("credential", "test", "upstream", f"{upstream.authority}/acme/none:1.0", "-w", "acme", check=False)
    assert absent.returncode == 1
    assert conditions(akua)["Verified"] == ("False", "NoSuchRepository")


def test_a_new_secret_is_used_only_when_it_opens_what_was_pulled(akua: AkuaProcess, upstream: DockerRegistry) -> None:
    assert pull(akua, upstream) == 200
    rotate = ("credential", "rotate", "upstream", "--verify", "-w", "acme", "-u", USERNAME)
    wrong = akua.run(*rotate, stdin="not the password\n", check=False)
    assert wrong.returncode == 2
    assert "staged and not used" in wrong.stderr
    assert "not the password" not in wrong.stderr + wrong.stdout
    assert pull(akua, upstream) == 200
    right = akua.run(*rotate, stdin=f"{PASSWORD}\n")
    assert "acme/app:1.0 can be pulled" in right.stderr
    versions = json.loads(akua.run("credential", "versions", "upstream", "-w", "acme", "-o", "json").stdout)
    assert [version["current"] for version in versions] == [True, False, False]
    assert pull(akua, upstream) == 200


def test_a_disabled_version_stops_pulls_until_it_is_enabled(akua: AkuaProcess, upstream: DockerRegistry) -> None:
    versions = json.loads(akua.run("credential", "versions", "upstream", "-w", "acme", "-o", "json").stdout)
    current = str(next(version["version"] for version in versions if version["current"]))
    akua.run("credential", "disable-version", "upstream", current, "-w", "acme")
    assert pull(akua, upstream) == 403
    assert akua.audit("--install", "shop", "--result", "refused")[0]["reason"] == "secret-invalid"
    akua.run("credential", "enable-version", "upstream", current, "-w", "acme")
    assert pull(akua, upstream) == 200

"""The token endpoint, as docker, containerd, podman and oras use it."""

from __future__ import annotations

from datetime import datetime

import jwt
import pytest

from registry_access.model.resources import Key, Kind
from tests.support.proxied_world import WORKSPACE, World, basic


async def test_docker_login_without_scope_gets_a_token_that_opens_the_ping(akua: World) -> None:
    token = await akua.install("shop")
    query = "account=shop&client_id=docker&offline_token=true&service=oci.akua.dev"
    answer = await akua.client.get(f"/token?{query}", headers={"Authorization": basic(token)})
    body = answer.json()
    assert answer.status_code == 200
    assert body["token"] == body["access_token"]
    assert body["expires_in"] >= 60
    assert datetime.fromisoformat(body["issued_at"]).tzinfo is not None
    assert "refresh_token" not in body
    assert answer.headers["cache-control"] == "no-store"
    assert (await akua.client.get("/v2/", headers={"Authorization": f"Bearer {body['token']}"})).status_code == 200


async def test_an_access_token_opens_its_scope_and_nothing_else(akua: World) -> None:
    token = await akua.install("shop", repositories=[f"{akua.upstream_host}/acme/*"])
    scope = f"repository:{akua.name('acme/app')}:pull"
    answer = await akua.client.get("/token", params={"scope": scope}, headers={"Authorization": basic(token)})
    access = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert answer.json()["scope"] == scope
    assert (await akua.client.get(akua.path("acme/app", "manifests", "1.0"), headers=access)).status_code == 200
    refused = await akua.client.get(akua.path("acme/other", "manifests", "1.0"), headers=access)
    assert refused.status_code == 401
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    again = await akua.client.get("/token", headers={"Authorization": f"Basic {basic(answer.json()['token'])[6:]}"})
    assert again.status_code == 401


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (["repository:{app}:pull"], ["repository:{app}:pull"]),
        (["repository:{app}:pull,push"], ["repository:{app}:pull"]),
        (["repository:{app}:pull repository:{other}:pull"], ["repository:{app}:pull"]),
        (["repository:{app}:pull", "repository:{app}:pull"], ["repository:{app}:pull"]),
        (["repository:{other}:pull"], []),
        (["repository:{app}:push"], []),
        (["registry:catalog:*", "nonsense", "repository(plugin):{app}:pull"], ["repository:{app}:pull"]),
    ],
)
async def test_scopes_are_cut_to_what_the_install_may(akua: World, asked: list[str], granted: list[str]) -> None:
    token = await akua.install("shop")
    names = {"app": akua.name("acme/app"), "other": akua.name("acme/other")}
    form = {"grant_type": "password", "username": "shop", "password": token, "service": "x", "client_id": "containerd"}
    scopes = [scope.format(**names) for scope in asked]
    answer = await akua.client.post("/token", data={**form, "scope": scopes})
    assert answer.status_code == 200
    assert answer.json()["scope"] == " ".join(scope.format(**names) for scope in granted)


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "unsupported_grant_type"),
        ({"grant_type": "password", "username": "", "password": "x"}, 401, ""),
        ({"grant_type": "password", "username": "shop", "password": "x"}, 401, ""),
        ({"grant_type": "password", "username": "shop", "password": "y" * 70000}, 400, "invalid_request"),
    ],
)
async def test_bad_forms(akua: World, form: dict[str, str], status: int, error: str) -> None:
    answer = await akua.client.post("/token", data=form)
    assert answer.status_code == status
    assert answer.json().get("error", "") == error


@pytest.mark.parametrize(
    ("spec", "reason"), [({"revoked": True}, "install-revoked"), ({"expiresAt": "2020-01-01T00:00:00Z"}, "install-expired")]
)
async def test_a_revoked_install_gets_a_token_that_opens_nothing_and_the_pull_says_why(
    akua: World, spec: dict[str, object], reason: str
) -> None:
    """Clients show what a manifest's refusal says, and nothing of what a token endpoint's does."""
    token = await akua.install("shop", **spec)
    scope = f"repository:{akua.name('acme/app')}:pull"
    answer = await akua.client.get("/token", params={"scope": scope}, headers={"Authorization": basic(token)})
    assert (answer.status_code, answer.json().get("scope", "")) == (200, "")
    access = {"Authorization": f"Bearer {answer.json()['token']}"}
    for path in ("/v2/", akua.path("acme/app", "manifests", "1.0")):
        refused = await akua.client.get(path, headers=access)
        assert (refused.status_code, refused.json()["errors"][0]["detail"]["reason"]) == (403, reason)
    assert {row.outcome.reason for row in await akua.audit(result="refused") if row.outcome} == {reason}
    await akua.store.patch(Key(Kind.INSTALL, WORKSPACE, "shop"), {"spec": {"revoked": False, "expiresAt": None}})
    # What was handed out while it was revoked has no scope, so a client fetches another.
    again = await akua.client.get(akua.path("acme/app", "manifests", "1.0"), headers=access)
    assert (again.status_code, again.json()["errors"][0]["detail"]["reason"]) == (401, "scope-insufficient")


async def test_an_access_token_dies_with_the_installs_token(akua: World) -> None:
    import time

    await akua.install("shop")
    shop = akua.store.index.install("acme", "shop")
    assert shop is not None
    now = int(time.time())
    token = akua.token("shop", shop.metadata.uid, issued_at=now, expires_at=now + 90)
    answer = await akua.client.get("/token", headers={"Authorization": basic(token)})
    claims = jwt.decode(answer.json()["token"], options={"verify_signature": False})
    assert claims["exp"] <= now + 91
    assert answer.json()["expires_in"] in range(60, 92)


async def test_other_paths_are_not_found_plainly(akua: World) -> None:
    assert (await akua.client.get("/nothing")).status_code == 404
    assert (await akua.client.put("/token")).status_code == 405

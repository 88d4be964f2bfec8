"""An install's token as a member of its workspace gets it: out of a pull Secret, without the signing keys."""

from __future__ import annotations

import base64
import time
from typing import Any, cast

import pytest

from control.install.provisions import install_token
from control.session import Session
from registry_access.model.errors import StateUnavailable
from registry_access.model.install_identity import InstallIdentity
from registry_access.model.install_token import InstallTokenClaims, install_payload
from registry_access.model.resources import Install, Key, Secret
from registry_access.settings import Settings
from registry_access.state.index import ResourceIndex
from registry_access.state.interface import StateStore
from webhook.install_sync.objects.minting import DOCKER_CONFIG_KEY, docker_config

API = "registry.akua.dev/v1alpha1"
HOST = "oci.akua.dev"
NOW = int(time.time())


class Store:
    """What somebody may read by name."""

    def __init__(self, **tokens: str) -> None:
        self.index = ResourceIndex()
        self.tokens = tokens

    async def read(self, key: Key) -> Any:
        if key.namespace not in self.tokens:
            raise StateUnavailable("not allowed: secrets is forbidden")
        config = base64.b64encode(docker_config(HOST, "shop", self.tokens[key.namespace])).decode()
        metadata = {"name": key.name, "namespace": key.namespace}
        return Secret.from_manifest(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {DOCKER_CONFIG_KEY: config}}
        )


def token(uid: str = "u1", generation: int = 1, expires: int = NOW + 3600) -> str:
    import orjson

    claims = InstallTokenClaims(InstallIdentity("acme", "shop", uid, generation), f"tok_{expires}", NOW, expires, HOST)
    payload = base64.urlsafe_b64encode(orjson.dumps(install_payload(claims))).rstrip(b"=").decode()
    return f"e30.{payload}.c2lnbmF0dXJl"


def session(**tokens: str) -> Session:
    store = Store(**tokens)
    status = {"targets": [{"namespace": each, "synced": True} for each in ("hidden", "one", "two")]}
    metadata = {"name": "shop", "namespace": "acme", "uid": "u1"}
    manifest = {"apiVersion": API, "kind": "Install", "metadata": metadata, "spec": {"repositories": ["ghcr.io/a"]}}
    store.index.put(Install.from_manifest(manifest | {"status": status}))
    return Session(Settings(state="kubernetes", host=HOST), cast("StateStore", store), "acme")


async def test_the_newest_of_those_that_may_be_read_is_given() -> None:
    found = await install_token(session(one=token(), two=token(expires=NOW + 7200)), "shop")
    assert (found.claims.expires_at, found.claims.identity.workspace, found.fresh) == (NOW + 7200, "acme", False)


@pytest.mark.parametrize("useless", ["", "nonsense", token(uid="u0"), token(generation=2), token(expires=NOW - 1)])
async def test_one_that_opens_nothing_is_not_given(useless: str) -> None:
    found = await install_token(session(one=useless, two=token()), "shop")
    assert found.token == token()


async def test_whoever_may_read_none_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise StateUnavailable("not allowed: namespaces is forbidden")

    monkeypatch.setattr("control.install.provisions.opened", refused)
    with pytest.raises(StateUnavailable) as raised:
        await install_token(session(), "shop")
    assert "you may not read Secret akua-pull-shop in hidden, one, two, so akua cannot" in str(raised.value)
    assert "forbidden" in str(raised.value)

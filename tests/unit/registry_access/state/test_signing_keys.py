"""Signing keys: made once, published, rotated with overlap."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry_access.model.errors import InvalidInput, InvalidToken, StateUnavailable
from registry_access.model.install_identity import InstallIdentity
from registry_access.model.install_token import InstallTokenClaims, mint_install_token, verify_install_token
from registry_access.model.resources import Key, Kind
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.model.signed_token import LEEWAY_SECONDS
from registry_access.state.directory.store import DirectoryStore
from registry_access.state.signing_keys import (
    AHEAD_SECONDS,
    INSTALL_TOKEN_JWKS,
    INSTALL_TOKEN_KEYS,
    ROTATE_ANNOTATION,
    KeyRing,
    PublishedKeys,
    SigningKeys,
    ensure_keys,
    publish,
    rotate_keys,
)
from tests.support.state_conformance import until

NOW = 1_800_000_000
LIFETIME = 3600.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DirectoryStore]:
    store = DirectoryStore(tmp_path, heartbeat_seconds=0.2)
    await store.start()
    yield store
    await store.stop()


async def test_all_who_start_at_once_get_the_same_keys(store: DirectoryStore) -> None:
    made = await asyncio.gather(*(ensure_keys(store, INSTALL_TOKEN_KEYS) for _ in range(5)))
    assert len({tuple(keys.keys) for keys in made}) == 1
    assert (await ensure_keys(store, INSTALL_TOKEN_KEYS)).keys.keys() == made[0].keys.keys()


async def test_the_published_set_holds_no_private_key(store: DirectoryStore) -> None:
    keys = await ensure_keys(store, INSTALL_TOKEN_KEYS)
    await publish(store, keys, "test")
    published = store.index.secret(SYSTEM_NAMESPACE, INSTALL_TOKEN_JWKS)
    assert published is not None
    assert b"PRIVATE" not in b"".join(published.data.values())
    assert b'"d"' not in b"".join(published.data.values())
    assert PublishedKeys(store.index).keys().by_id.keys() == keys.keys.keys()


async def test_without_keys_nothing_signs_and_nothing_verifies(store: DirectoryStore) -> None:
    assert PublishedKeys(store.index).keys().by_id == {}
    with pytest.raises(InvalidInput, match="does not exist yet"):
        KeyRing(store.index, INSTALL_TOKEN_KEYS, lambda: NOW).active()


async def test_a_secret_that_was_spoilt_keeps_the_last_good_keys(store: DirectoryStore) -> None:
    keys = await ensure_keys(store, INSTALL_TOKEN_KEYS)
    ring = KeyRing(store.index, INSTALL_TOKEN_KEYS, lambda: NOW)
    assert ring.keys().keys.keys() == keys.keys.keys()
    await store.delete(Key(Kind.SECRET, SYSTEM_NAMESPACE, INSTALL_TOKEN_KEYS))
    await until(lambda: store.index.secret(SYSTEM_NAMESPACE, INSTALL_TOKEN_KEYS) is None)
    assert ring.keys().keys.keys() == keys.keys.keys()
    await store.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": INSTALL_TOKEN_KEYS, "namespace": SYSTEM_NAMESPACE},
            "stringData": {"times.json": "nonsense"},
        }
    )
    await until(lambda: store.index.secret(SYSTEM_NAMESPACE, INSTALL_TOKEN_KEYS) is not None)
    assert ring.keys().keys.keys() == keys.keys.keys()
    with pytest.raises(InvalidInput):
        KeyRing(store.index, INSTALL_TOKEN_KEYS, lambda: NOW).keys()


async def test_a_public_set_that_was_spoilt_keeps_the_last_good_keys(store: DirectoryStore) -> None:
    keys = await ensure_keys(store, INSTALL_TOKEN_KEYS)
    await publish(store, keys, "test")
    published, jwks = PublishedKeys(store.index), Key(Kind.SECRET, SYSTEM_NAMESPACE, INSTALL_TOKEN_JWKS)
    good = published.keys()
    await store.patch(jwks, {"data": {"jwks.json": base64.b64encode(b"nonsense").decode()}})
    await until(lambda: getattr(store.index.get(jwks), "data", {}).get("jwks.json") == b"nonsense")
    assert published.keys() is good
    await publish(store, keys, "test")
    await until(lambda: published.keys() is not good)
    assert published.keys().by_id.keys() == good.by_id.keys()


async def test_publishing_what_is_published_writes_nothing(store: DirectoryStore) -> None:
    keys = await ensure_keys(store, INSTALL_TOKEN_KEYS)
    jwks = Key(Kind.SECRET, SYSTEM_NAMESPACE, INSTALL_TOKEN_JWKS)
    await publish(store, keys, "test")
    before = await store.read(jwks)
    await publish(store, keys, "test")
    assert (await store.read(jwks)).metadata.resource_version == before.metadata.resource_version


async def test_keys_are_rotated_when_they_are_old_or_when_somebody_asks(store: DirectoryStore) -> None:
    await ensure_keys(store, INSTALL_TOKEN_KEYS)
    now, month = time.time(), 30 * 86400.0

    async def count(at: float) -> int:
        keys = await rotate_keys(store, INSTALL_TOKEN_KEYS, at, LIFETIME, publish_as="test", if_older=month)
        return len(keys.keys)

    assert await count(now) == 1
    assert await count(now + month + 1) == 2
    assert await count(now + month + 2) == 2
    asked = {"metadata": {"annotations": {ROTATE_ANNOTATION: "please"}}}
    await store.patch(Key(Kind.SECRET, SYSTEM_NAMESPACE, INSTALL_TOKEN_KEYS), asked)
    assert await count(now + month + 3) == 3
    assert await count(now + month + 4) == 3


async def test_a_new_key_is_published_before_it_is_kept(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a crash between the two leaves a key that will sign and that no proxy knows."""
    first = await ensure_keys(store, INSTALL_TOKEN_KEYS)

    async def crash(*_: object, **__: object) -> None:
        raise StateUnavailable("gone")

    monkeypatch.setattr(store, "patch", crash)
    with pytest.raises(StateUnavailable):
        await rotate_keys(store, INSTALL_TOKEN_KEYS, NOW, LIFETIME, publish_as="test")
    published = PublishedKeys(store.index)
    await until(lambda: len(published.keys().by_id) == 2)
    assert (await ensure_keys(store, INSTALL_TOKEN_KEYS)).keys.keys() == first.keys.keys()


async def test_rotation_signs_later_and_retires_the_old_when_nothing_can_hold_it(store: DirectoryStore) -> None:
    first = await ensure_keys(store, INSTALL_TOKEN_KEYS)
    second = await rotate_keys(store, INSTALL_TOKEN_KEYS, NOW, LIFETIME)
    (old,) = first.keys
    assert len(second.keys) == 2
    # Others learn of the new key before anything is signed with it.
    assert second.active(NOW).key_id == old
    assert second.active(NOW + AHEAD_SECONDS).key_id != old
    third = await rotate_keys(store, INSTALL_TOKEN_KEYS, NOW + 1000, LIFETIME)
    assert len(third.keys) == 3
    fourth = await rotate_keys(store, INSTALL_TOKEN_KEYS, NOW + AHEAD_SECONDS + LIFETIME + LEEWAY_SECONDS + 1, LIFETIME)
    assert old not in fourth.keys
    stored = await store.read(Key(Kind.SECRET, SYSTEM_NAMESPACE, INSTALL_TOKEN_KEYS))
    assert f"{old}.pem" not in getattr(stored, "data", {})


def test_every_token_verifies_throughout_a_rotation() -> None:
    """Fault 23: at no moment is a live token of a live key refused, whichever process signed it."""
    keys = SigningKeys.first()
    minted: list[tuple[int, str]] = []
    for second in range(0, 20_000, 250):
        now = NOW + second
        if second % 5000 == 0:
            keys = keys.rotated(now, LIFETIME)
        claims = InstallTokenClaims(
            InstallIdentity("acme", "shop", "uid", 1), f"tok_{second:08d}", now, int(now + LIFETIME), "oci.akua.dev"
        )
        minted.append((now, mint_install_token(claims, keys.active(now))))
        for issued, token in minted:
            if now < issued + LIFETIME:
                verify_install_token(token, keys.verification(), audience="oci.akua.dev", now=now)
    with pytest.raises(InvalidToken):
        verify_install_token(minted[0][1], keys.verification(), audience="oci.akua.dev", now=NOW)


@pytest.mark.parametrize(
    "data",
    [{}, {"times.json": b"nonsense"}, {"times.json": b"{}"}, {"times.json": b'{"a": 1}', "a.pem": b"x"}, {"times.json": b"[]"}],
)
def test_secrets_that_hold_no_keys(data: dict[str, bytes]) -> None:
    from registry_access.model.resources import Metadata, Secret

    with pytest.raises(InvalidInput) as caught:
        SigningKeys.from_secret(Secret(Metadata("s", "akua-system"), data=data))
    assert "nonsense" not in str(caught.value)

"""Versions of workspace secrets, and what a credential resolves to with each step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry_access.model.decision import Reason
from registry_access.model.errors import Conflict, InvalidInput, NotFound
from registry_access.model.resources import CredentialType, Key, Kind, RegistryCredential
from registry_access.model.workspace_secret import ResolvedSecret, SecretProblem, VersionState, resolve_secret
from registry_access.state.directory import DirectoryStore
from registry_access.state.interface import StateStore
from registry_access.state.workspace_secrets import WorkspaceSecrets
from tests.support.builders import manifest
from tests.support.state_conformance import WORKSPACE, secret_manifest

SPEC = {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr"}
CREDENTIAL = RegistryCredential.from_manifest(manifest("RegistryCredential", "ghcr", SPEC))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[StateStore]:
    store = DirectoryStore(tmp_path, watch=False)
    await store.start()
    yield store
    await store.stop()


def resolved(store: StateStore) -> str:
    """The password in use, or why there is none."""
    found = resolve_secret(CREDENTIAL, lambda name: store.index.secret(WORKSPACE, name))
    return found.values["password"] if isinstance(found, ResolvedSecret) else found.reason


def values(password: str) -> dict[str, str]:
    return {"username": "robot", "password": password}


async def test_rotation_staging_and_rolling_back(store: StateStore) -> None:
    secrets = WorkspaceSecrets(store)
    first = await secrets.add(WORKSPACE, "ghcr", values("one"), comment="from Ann", type=CredentialType.BASIC)
    assert (first.number, first.current, first.state, first.comment) == (1, True, VersionState.ENABLED, "from Ann")
    assert resolved(store) == "one"
    staged = await secrets.add(WORKSPACE, "ghcr", values("two"), current=False)
    assert (staged.number, staged.current) == (2, False)
    assert resolved(store) == "one"
    assert (await secrets.pin(WORKSPACE, "ghcr", 2)).current
    assert resolved(store) == "two"
    await secrets.pin(WORKSPACE, "ghcr", 1)
    assert resolved(store) == "one"
    current = await secrets.current(WORKSPACE, "ghcr")
    assert current is not None
    assert current.number == 1
    assert [version.number for version in await secrets.versions(WORKSPACE, "ghcr")] == [2, 1]


async def test_a_disabled_version_serves_nobody_until_it_is_enabled(store: StateStore) -> None:
    secrets = WorkspaceSecrets(store)
    await secrets.add(WORKSPACE, "ghcr", values("one"))
    await secrets.disable(WORKSPACE, "ghcr", 1)
    assert resolved(store) == Reason.SECRET_INVALID
    with pytest.raises(Conflict, match="disabled"):
        await secrets.pin(WORKSPACE, "ghcr", 1)
    await secrets.enable(WORKSPACE, "ghcr", 1)
    assert resolved(store) == "one"


async def test_a_destroyed_version_leaves_no_value_anywhere(store: StateStore, tmp_path: Path) -> None:
    secrets = WorkspaceSecrets(store)
    await secrets.add(WORKSPACE, "ghcr", values("canary-1"))
    with pytest.raises(Conflict, match="pin another"):
        await secrets.destroy(WORKSPACE, "ghcr", 1)
    await secrets.add(WORKSPACE, "ghcr", values("two"))
    destroyed = await secrets.destroy(WORKSPACE, "ghcr", 1)
    assert destroyed.state is VersionState.DESTROYED
    assert (await secrets.destroy(WORKSPACE, "ghcr", 1)).uid == destroyed.uid
    for attempt in (secrets.pin(WORKSPACE, "ghcr", 1), secrets.enable(WORKSPACE, "ghcr", 1)):
        with pytest.raises(Conflict, match="destroyed"):
            await attempt
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Y2FuYXJ5LTE" not in content
    assert resolved(store) == "two"


async def test_a_plain_secret_is_used_as_it_is_and_becomes_version_one(store: StateStore) -> None:
    await store.create(secret_manifest("ghcr", username="robot", password="plain"))
    assert resolved(store) == "plain"
    secrets = WorkspaceSecrets(store)
    assert await secrets.current(WORKSPACE, "ghcr") is None
    added = await secrets.add(WORKSPACE, "ghcr", values("two"), current=False)
    assert added.number == 2
    assert resolved(store) == "plain"
    head = await store.read(Key(Kind.SECRET, WORKSPACE, "ghcr"))
    assert head.to_manifest().get("data") is None
    await secrets.pin(WORKSPACE, "ghcr", 2)
    assert resolved(store) == "two"


async def test_values_that_cannot_serve_are_refused(store: StateStore) -> None:
    secrets = WorkspaceSecrets(store)
    with pytest.raises(InvalidInput, match="lacks password"):
        await secrets.add(WORKSPACE, "ghcr", {"username": "robot"}, type=CredentialType.BASIC)
    with pytest.raises(InvalidInput, match="empty"):
        await secrets.add(WORKSPACE, "ghcr", {"username": ""})
    with pytest.raises(InvalidInput, match="512 KiB"):
        await secrets.add(WORKSPACE, "ghcr", {"password": b"x" * 600_000})
    with pytest.raises(NotFound):
        await secrets.versions(WORKSPACE, "ghcr")
    await secrets.add(WORKSPACE, "ghcr", values("one"))
    with pytest.raises(NotFound, match="version 9"):
        await secrets.version(WORKSPACE, "ghcr", 9)


async def test_versions_added_at_the_same_time_get_numbers_of_their_own(store: StateStore) -> None:
    secrets = WorkspaceSecrets(store)
    await secrets.add(WORKSPACE, "ghcr", values("one"))
    added = await asyncio.gather(*(secrets.add(WORKSPACE, "ghcr", values(str(n)), current=False) for n in range(5)))
    assert sorted(version.number for version in added) == [2, 3, 4, 5, 6]


async def test_a_secret_in_use_is_not_deleted(store: StateStore) -> None:
    secrets = WorkspaceSecrets(store)
    await secrets.add(WORKSPACE, "ghcr", values("one"))
    await store.create(CREDENTIAL.to_manifest())
    with pytest.raises(Conflict, match="credential ghcr"):
        await secrets.delete(WORKSPACE, "ghcr")
    await store.delete(CREDENTIAL.key)
    await secrets.delete(WORKSPACE, "ghcr")
    assert not store.index.secrets()


async def test_a_pin_to_what_is_not_there_says_so(store: StateStore) -> None:
    manifest = secret_manifest("ghcr", username="robot", password="plain")
    manifest["metadata"]["annotations"] = {"registry.akua.dev/current-version": "7"}
    await store.create(manifest)
    problem = resolve_secret(CREDENTIAL, lambda name: store.index.secret(WORKSPACE, name))
    assert isinstance(problem, SecretProblem)
    assert problem.reason is Reason.SECRET_MISSING
    assert "version 7" in problem.detail


async def test_a_value_is_bound_to_the_registries_that_it_was_given_for(store: StateStore) -> None:
    secrets = WorkspaceSecrets(store)
    await secrets.add(WORKSPACE, "ghcr", values("one"), registries={"ghcr.io"})
    assert resolved(store) == "one"
    # Whoever rotates it for another registry would send it there.
    with pytest.raises(InvalidInput, match=r"secret ghcr: is for ghcr\.io, not for evil\.example"):
        await secrets.add(WORKSPACE, "ghcr", values("two"), registries={"ghcr.io", "evil.example"})
    assert [version.number for version in await secrets.versions(WORKSPACE, "ghcr")] == [1]
    # A version inherits what the one before it was bound to, whatever adds it.
    await secrets.add(WORKSPACE, "ghcr", values("two"))
    await store.patch(
        Key(Kind.SECRET, WORKSPACE, "ghcr-v1"), {"metadata": {"annotations": {"registry.akua.dev/registries": "a.example"}}}
    )
    assert resolved(store) == "two"
    await secrets.pin(WORKSPACE, "ghcr", 1)
    assert resolved(store) == Reason.SECRET_BOUND


async def test_a_plain_secret_keeps_its_binding_as_version_one(store: StateStore) -> None:
    plain = secret_manifest("ghcr", username="robot", password="zero")
    plain["metadata"]["annotations"] = {"registry.akua.dev/registries": "ghcr.io,quay.io"}
    await store.create(plain)
    await WorkspaceSecrets(store).add(WORKSPACE, "ghcr", values("one"), registries={"ghcr.io"})
    for version in ("ghcr-v1", "ghcr-v2"):
        found = store.index.secret(WORKSPACE, version)
        assert found is not None
        assert found.metadata.annotations["registry.akua.dev/registries"] == "ghcr.io,quay.io"

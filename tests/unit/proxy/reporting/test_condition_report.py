"""Conditions of credentials and installs: what the gates would say, and what upstreams answered, in both directions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from proxy.reporting.condition_report import ConditionReport
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result
from registry_access.model.decision import Reason
from registry_access.model.errors import StateUnavailable
from registry_access.model.occurrence import Occurrence
from registry_access.model.resources import Install, Key, Kind, RegistryCredential
from registry_access.state.directory.store import DirectoryStore
from registry_access.state.interface import HeldSecrets

API = "registry.akua.dev/v1alpha1"
SHOP, GHCR = Key(Kind.INSTALL, "acme", "shop"), Key(Kind.REGISTRY_CREDENTIAL, "acme", "ghcr")
APP = "ghcr.io/acme/app"


class Told:
    def __init__(self) -> None:
        self.occurrences: list[Occurrence] = []

    def record(self, occurrence: Occurrence) -> None:
        self.occurrences.append(occurrence)


class Store(DirectoryStore):
    held = HeldSecrets(0.0)

    def secrets_of(self, workspace: str) -> HeldSecrets:
        return self.held


class World:
    """acme, with the install shop of ghcr.io/acme/app; `now` is moved by the test."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.told = Told()
        self.now = 1_800_000_000.0
        self.report = self.another()

    def another(self) -> ConditionReport:
        report = ConditionReport(self.store, self.told, lambda: self.now, lambda: self.now, seconds=3600)
        report.start()
        return report

    async def make(self, kind: str, name: str, spec: dict[str, Any] | None = None, **fields: Any) -> None:
        version = API if spec is not None else "v1"
        manifest = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "acme"}, **fields}
        await self.store.create(manifest | ({"spec": spec} if spec is not None else {}))

    async def credential(self, name: str = "ghcr", **spec: Any) -> None:
        await self.make("RegistryCredential", name, {"registry": "ghcr.io", "type": "Basic", "secretName": "ghcr", **spec})

    async def secret(self) -> None:
        await self.make("Secret", "ghcr", stringData={"username": "robot", "password": "first"})

    async def settled(self) -> None:
        """What a few seconds bring."""
        for _ in range(4):
            self.now += 1
            await self.report.write()

    def pulled(self, refused: Reason | None = None, repository: str = "acme/app", detail: str = "no") -> None:
        event = AuditEvent(
            id="e", time=0, decision_id="d", operation=Operation.PULL_MANIFEST, workspace="acme", install="shop",
            install_uid="u", token_id="t", registry="ghcr.io", repository=repository, reference="1", client_address="",
            user_agent="",
        )  # fmt: skip
        result = Result.FAILED if refused else Result.ALLOWED
        outcome = AuditOutcome(
            event_id="e", time=0, result=result, gate="upstream" if refused else "", reason=str(refused or ""), detail=detail,
            status=200, digest="", bytes=0, duration=1, credential="ghcr",
        )  # fmt: skip
        self.report.observe(event, outcome)

    def said(self, key: Key, type: str) -> tuple[str, str]:
        found = self.store.index.get(key)
        assert isinstance(found, Install | RegistryCredential)
        return next(((item.status, item.reason) for item in found.status.conditions if item.type == type), ("", ""))

    def message(self, key: Key, type: str) -> str:
        found = self.store.index.get(key)
        assert isinstance(found, Install | RegistryCredential)
        return next(item.message for item in found.status.conditions if item.type == type)

    def version(self) -> str:
        found = self.store.index.credential("acme", "ghcr")
        assert found is not None
        return found.status.secret_version


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = Store(tmp_path, watch=False)
    await store.start()
    made = World(store)
    await made.make("Install", "shop", {"repositories": [APP]})
    yield made
    await made.report.stop()
    await store.stop()


async def test_a_credential_says_whether_it_can_be_used_and_by_which_version(world: World) -> None:
    await world.credential()
    await world.settled()
    assert world.said(GHCR, "Ready") == ("False", "SecretMissing")
    assert "ghcr" in world.message(GHCR, "Ready")
    assert [item.reason for item in world.told.occurrences] == ["CredentialUnusable"]
    await world.secret()
    await world.report.write()
    assert world.said(GHCR, "Ready") == ("True", "Usable")
    assert (world.message(GHCR, "Ready"), world.version()) == ("Secret ghcr", "unversioned")
    await world.store.patch(GHCR, {"spec": {"disabled": True}})
    await world.settled()
    assert world.said(GHCR, "Ready") == ("False", "Disabled")
    await world.store.patch(GHCR, {"spec": {"disabled": None}})
    await world.report.write()
    assert world.said(GHCR, "Ready") == ("True", "Usable")


async def test_what_is_made_in_one_go_is_never_said_to_be_half_done(world: World) -> None:
    await world.credential()
    await world.report.write()
    await world.secret()
    await world.settled()
    assert world.said(GHCR, "Ready") == ("True", "Usable")
    assert world.told.occurrences == []
    assert world.said(SHOP, "Pullable") == ("", ""), "nothing was ever wrong, so nothing is written"


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        ([], "CredentialMissing"),
        ([("ghcr", {"disabled": True})], "CredentialDisabled"),
        ([("ghcr", {}), ("two", {})], "CredentialAmbiguous"),
        ([("ghcr", {"repositories": ["acme/*"]}), ("two", {"repositories": ["acme/*", "b/*"]})], "CredentialAmbiguous"),
        ([("ghcr", {"repositories": ["other/*"]})], "CredentialMissing"),
        ([("ghcr", {"secretName": "other"})], "SecretMissing"),
    ],
)
async def test_an_install_says_that_no_credential_opens_its_images(
    world: World, credentials: Sequence[tuple[str, dict[str, Any]]], reason: str
) -> None:
    await world.secret()
    for name, spec in credentials:
        await world.credential(name, **spec)
    await world.settled()
    assert world.said(SHOP, "Pullable") == ("False", reason)
    assert world.message(SHOP, "Pullable")
    for name, _ in credentials:
        await world.store.delete(Key(Kind.REGISTRY_CREDENTIAL, "acme", name))
    await world.credential()
    await world.report.write()
    assert world.said(SHOP, "Pullable") == ("True", "Opened")


async def test_a_part_of_a_registry_that_is_opened_is_enough_for_an_entitlement_to_all_of_it(world: World) -> None:
    await world.secret()
    await world.store.patch(SHOP, {"spec": {"repositories": ["ghcr.io/*"]}})
    await world.credential(repositories=["acme/*"])
    await world.settled()
    assert world.said(SHOP, "Pullable") == ("", "")
    await world.credential("two", repositories=["acme/*"])
    await world.settled()
    assert world.said(SHOP, "Pullable") == ("False", "CredentialAmbiguous")


@pytest.mark.parametrize("refusal", [Reason.UPSTREAM_UNAUTHORIZED, Reason.UPSTREAM_DENIED])
async def test_what_pulls_meet_is_said_in_both_directions(world: World, refusal: Reason) -> None:
    await world.secret()
    await world.credential()
    world.pulled()
    await world.report.write()
    assert world.said(GHCR, "Verified") == ("True", "Opened")
    world.pulled(refusal, detail="ghcr.io says: expired")
    await world.report.write()
    assert world.said(GHCR, "Verified")[0] == world.said(SHOP, "Pullable")[0] == "False"
    assert world.message(GHCR, "Verified") == world.message(SHOP, "Pullable") == f"{APP}: ghcr.io says: expired"
    world.pulled()
    await world.report.write()
    assert world.said(GHCR, "Verified") == ("True", "Opened")
    assert world.said(SHOP, "Pullable") == ("True", "Opened")


async def test_one_repository_that_is_denied_is_not_forgotten_for_another_that_opens(world: World) -> None:
    await world.secret()
    await world.credential()
    world.pulled(Reason.UPSTREAM_DENIED, "acme/b")
    await world.report.write()
    world.pulled()
    await world.report.write()
    assert world.said(GHCR, "Verified") == ("False", "UpstreamDenied")
    world.now += 3600  # nobody pulls it any more
    world.pulled()
    await world.report.write()
    assert world.said(GHCR, "Verified") == ("True", "Opened")


@pytest.mark.parametrize("refusal", [Reason.UPSTREAM_NOT_FOUND, Reason.UPSTREAM_RATE_LIMITED, Reason.UPSTREAM_UNREACHABLE])
async def test_what_says_nothing_of_the_login_changes_nothing(world: World, refusal: Reason) -> None:
    await world.secret()
    await world.credential()
    world.pulled()
    world.pulled(refusal)
    await world.settled()
    assert world.said(GHCR, "Verified") == ("True", "Opened")


async def test_another_secret_is_not_tried_yet(world: World) -> None:
    await world.secret()
    await world.credential()
    world.pulled(Reason.UPSTREAM_UNAUTHORIZED)
    await world.settled()
    await world.store.patch(Key(Kind.SECRET, "acme", "ghcr"), {"stringData": {"password": "better"}})
    await world.settled()
    assert world.said(GHCR, "Verified") == ("Unknown", "NotTriedYet")
    world.pulled()
    await world.settled()
    assert world.said(GHCR, "Verified") == ("True", "Opened")


async def test_two_proxies_write_once_and_what_fails_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[Key] = []
    patch = world.store.patch_status

    async def counted(key: Key, *arguments: Any, **options: Any) -> Any:
        writes.append(key)
        if len(writes) == 1:
            raise StateUnavailable("the API server cannot be reached")
        return await patch(key, *arguments, **options)

    monkeypatch.setattr(world.store, "patch_status", counted)
    other = world.another()
    await world.secret()
    await world.credential()
    for _ in range(3):
        await world.settled()
        await other.write()
    assert writes == [GHCR, GHCR]
    assert world.said(GHCR, "Ready") == ("True", "Usable")
    await other.stop()


@pytest.mark.parametrize(
    ("expires", "reason"),
    [("2027-06-01T00:00:00Z", "Usable"), ("2027-01-20T00:00:00Z", "ExpiresSoon"), ("2027-01-10T00:00:00Z", "Expired")],
)
async def test_the_end_of_a_secret_is_said_ahead_and_stops_nothing(world: World, expires: str, reason: str) -> None:
    await world.secret()
    await world.credential(expiresAt=expires)
    await world.settled()  # it is 2027-01-15
    assert world.said(GHCR, "Ready") == ("True", reason)
    assert (expires in world.message(GHCR, "Ready")) is (reason != "Usable")


async def test_an_object_whose_status_is_refused_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    patch = world.store.patch_status

    async def refused(key: Key, *arguments: Any, **options: Any) -> Any:
        if key.name.startswith("bad"):
            raise StateUnavailable("not allowed: a policy refuses it")
        return await patch(key, *arguments, **options)

    monkeypatch.setattr(world.store, "patch_status", refused)
    await world.secret()
    for name in (*(f"bad-{number}" for number in range(5)), "ghcr"):
        await world.credential(name, repositories=[f"{name}/*"])
    await world.settled()
    assert world.said(GHCR, "Ready") == ("True", "Usable")


async def test_secrets_that_cannot_be_read_are_not_said_to_be_missing(world: World) -> None:
    world.store.held = HeldSecrets(float("inf"), "secrets is forbidden")
    await world.credential()
    await world.settled()
    assert world.said(GHCR, "Ready") == ("False", "SecretsUnreadable")
    assert world.said(SHOP, "Pullable") == ("False", "SecretsUnreadable")
    assert "secrets is forbidden" in world.message(GHCR, "Ready")
    world.store.held = HeldSecrets(0.0)
    for _ in range(3):  # nothing changed that would tell
        await world.settled()
    assert world.said(GHCR, "Ready") == ("False", "SecretMissing")
    await world.secret()
    await world.settled()
    assert world.said(GHCR, "Ready") == ("True", "Usable")
    assert world.said(SHOP, "Pullable") == ("True", "Opened")

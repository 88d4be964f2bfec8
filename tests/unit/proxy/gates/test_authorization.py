"""Gates 3 to 6, row by row, and the same gates asked all at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.gates.authorization import Moment, authorize, credential_withdrawn, explain
from registry_access.model.decision import Decision, Gate, Reason
from registry_access.model.install_identity import InstallIdentity
from registry_access.model.resources import Key, Kind, RegistryCredential, Resource
from registry_access.state.index import ResourceIndex
from registry_access.state.interface import HeldSecrets
from tests.support import builders

API = "registry.akua.dev/v1alpha1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FRESH = Moment(NOW, 0.5, 15)
SHOP = InstallIdentity("acme", "shop", "u1", 1)
LABEL = "registry.akua.dev/workspace"
CREDENTIAL = Key(Kind.REGISTRY_CREDENTIAL, "acme", "ghcr")


Change = Callable[[ResourceIndex], None]


def put(resource: Resource) -> Change:
    return lambda index: index.put(resource)


def install(**spec: Any) -> Change:
    return put(builders.install(metadata={"uid": "u1"}, **{"repositories": ["ghcr.io/acme/*"]} | spec))


def credential(name: str = "ghcr", uid: str = "c1", **spec: Any) -> Change:
    return put(builders.credential(name, metadata={"uid": uid}, **spec))


def secret(**values: str) -> Change:
    return put(builders.secret("ghcr", values, uid="s1"))


def namespace(**metadata: Any) -> Change:
    return put(builders.namespace("acme", **metadata))


def remove(key: Key) -> Callable[[ResourceIndex], None]:
    return lambda index: index.remove(key)


@pytest.fixture
def index() -> ResourceIndex:
    """Where install shop may pull ghcr.io/acme/*."""
    made = ResourceIndex()
    for step in (install(), credential(), secret(username="robot", password="x")):
        step(made)
    return made


def asked(index: ResourceIndex, identity: InstallIdentity = SHOP, moment: Moment = FRESH) -> Decision:
    return authorize(Decision("dec_1", ()), identity, "ghcr.io", "acme/app", index, moment).decision


def test_all_gates_pass_in_order(index: ResourceIndex) -> None:
    answer = authorize(Decision("dec_1", ()), SHOP, "ghcr.io", "acme/app", index, FRESH)
    assert answer.decision.allowed
    assert [result.gate for result in answer.decision.results] == [
        Gate.INSTALL,
        Gate.ENTITLEMENT,
        Gate.CREDENTIAL,
        Gate.FRESHNESS,
    ]
    assert answer.credential is not None
    assert answer.secret is not None
    assert answer.secret.values["username"] == "robot"
    assert "x" not in repr(answer.secret)


ROWS: list[tuple[str, list[Callable[[ResourceIndex], None]], Gate, Reason, str]] = [
    ("gone", [remove(Key(Kind.INSTALL, "acme", "shop"))], Gate.INSTALL, Reason.INSTALL_UNKNOWN, "install shop does not exist"),
    ("revoked", [install(revoked=True)], Gate.INSTALL, Reason.INSTALL_REVOKED, "akua install restore shop"),
    ("over", [install(expiresAt="2026-01-01T00:00:00Z")], Gate.INSTALL, Reason.INSTALL_EXPIRED, "2026-01-01 00:00Z"),
    ("superseded", [install(tokenGeneration=2)], Gate.INSTALL, Reason.TOKEN_SUPERSEDED, "is at 2"),
    ("not bought", [install(repositories=["ghcr.io/acme/blog"])], Gate.ENTITLEMENT, Reason.NOT_ENTITLED, "spec.repositories"),
    ("no product", [install(repositories=[], product="p")], Gate.ENTITLEMENT, Reason.NOT_ENTITLED, "does not exist"),
    (
        "other product",
        [install(repositories=[], product="p"), put(builders.product("p", repositories=["ghcr.io/x/y"]))],
        Gate.ENTITLEMENT,
        Reason.NOT_ENTITLED,
        "product p does not include it",
    ),
    ("no credential", [remove(CREDENTIAL)], Gate.CREDENTIAL, Reason.CREDENTIAL_MISSING, "akua credential add"),
    ("elsewhere", [credential(repositories=["blog/*"])], Gate.CREDENTIAL, Reason.CREDENTIAL_MISSING, "ghcr.io/acme/app"),
    ("disabled", [credential(disabled=True)], Gate.CREDENTIAL, Reason.CREDENTIAL_DISABLED, "akua credential enable ghcr"),
    ("two", [credential("twin")], Gate.CREDENTIAL, Reason.CREDENTIAL_AMBIGUOUS, "ghcr and twin"),
    (
        "two, both disabled",
        [credential(disabled=True), credential("twin", disabled=True)],
        Gate.CREDENTIAL,
        Reason.CREDENTIAL_DISABLED,
        "`akua credential enable ghcr`",
    ),
    (
        "the closest is disabled",
        [credential("narrow", repositories=["acme/*"], disabled=True)],
        Gate.CREDENTIAL,
        Reason.CREDENTIAL_DISABLED,
        "narrow",
    ),
    ("no secret", [remove(Key(Kind.SECRET, "acme", "ghcr"))], Gate.CREDENTIAL, Reason.SECRET_MISSING, "no secret ghcr"),
    (
        "no label",
        [namespace()],
        Gate.INSTALL,
        Reason.NOT_A_WORKSPACE,
        "kubectl label namespace acme registry.akua.dev/workspace=true",
    ),
    (
        "a label that says no",
        [namespace(labels={LABEL: "false"})],
        Gate.INSTALL,
        Reason.NOT_A_WORKSPACE,
        "does not have the label",
    ),
    (
        "being deleted",
        [namespace(labels={LABEL: "true"}, deletionTimestamp="2026-01-01T00:00:00Z")],
        Gate.INSTALL,
        Reason.NOT_A_WORKSPACE,
        "is being deleted",
    ),
    ("half a secret", [secret(username="robot")], Gate.CREDENTIAL, Reason.SECRET_INVALID, "lacks password"),
]


@pytest.mark.parametrize(("steps", "gate", "reason", "said"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_each_refusal_has_its_gate_its_reason_and_the_way_out(
    index: ResourceIndex, steps: list[Callable[[ResourceIndex], None]], gate: Gate, reason: Reason, said: str
) -> None:
    for step in steps:
        step(index)
    decision = asked(index)
    refusal = decision.refusal
    assert refusal is not None
    assert (refusal.gate, refusal.reason) == (gate, reason)
    assert said in refusal.detail
    assert decision.results[-1] is refusal, "nothing is asked behind the first gate that fails"


def test_a_successor_of_the_same_name_is_another_install(index: ResourceIndex) -> None:
    refusal = asked(index, InstallIdentity("acme", "shop", "u0", 1)).refusal
    assert refusal is not None
    assert refusal.reason is Reason.INSTALL_REPLACED


def test_another_workspaces_install_of_the_same_name_is_not_ours(index: ResourceIndex) -> None:
    refusal = asked(index, InstallIdentity("rival", "shop", "u1", 1)).refusal
    assert refusal is not None
    assert refusal.reason is Reason.INSTALL_UNKNOWN


def test_an_install_is_good_until_the_moment_it_expires(index: ResourceIndex) -> None:
    install(expiresAt="2026-01-01T00:00:01Z")(index)
    assert asked(index).allowed


def test_the_longest_prefix_wins_whatever_the_order(index: ResourceIndex) -> None:
    credential("a-narrow", "c2", repositories=["acme/app"])(index)
    credential("z-wide", "c3", repositories=["acme/*"])(index)
    chosen = authorize(Decision("dec_1", ()), SHOP, "ghcr.io", "acme/app", index, FRESH).credential
    assert chosen is not None
    assert chosen.metadata.name == "a-narrow"


def test_a_product_entitles_beside_the_installs_own_list(index: ResourceIndex) -> None:
    install(repositories=["ghcr.io/acme/other"], product="p")(index)
    put(builders.product("p"))(index)
    assert asked(index).allowed


@pytest.mark.parametrize(
    ("staleness", "said"),
    [(15.0, ""), (15.1, "15 s ago"), (float("inf"), "last proven current never")],
    ids=["limit", "stale", "never"],
)
def test_staleness_is_refused_beyond_the_limit(index: ResourceIndex, staleness: float, said: str) -> None:
    refusal = asked(index, moment=Moment(NOW, staleness, 15)).refusal
    assert (refusal.detail if refusal else "") == "" if not said else refusal is not None and said in refusal.detail


UNREAD = Moment(NOW, 0.5, 15, lambda workspace: HeldSecrets(20.0 if workspace == "acme" else 0.0, "secrets is forbidden"))


def test_secrets_that_are_not_proven_refuse_this_workspace_with_that_reason(index: ResourceIndex) -> None:
    refusal = asked(index, moment=UNREAD).refusal
    assert refusal is not None
    assert (refusal.gate, refusal.reason) == (Gate.FRESHNESS, Reason.SECRETS_UNREADABLE)
    assert "secrets is forbidden" in refusal.detail
    remove(Key(Kind.SECRET, "acme", "ghcr"))(index)
    refusal = asked(index, moment=UNREAD).refusal
    assert refusal is not None
    assert refusal.reason is Reason.SECRETS_UNREADABLE, "not that there is none, which nobody knows"


def test_a_secret_for_which_there_was_no_room_is_said_to_be_that(index: ResourceIndex) -> None:
    remove(Key(Kind.SECRET, "acme", "ghcr"))(index)
    refusal = asked(index, moment=Moment(NOW, 0.5, 15, lambda _: HeldSecrets(0.5, withheld="its Secrets are too large"))).refusal
    assert refusal is not None
    assert (refusal.reason, "its Secrets are too large" in refusal.detail) == (Reason.SECRET_MISSING, True)


def test_a_credential_without_a_secret_does_not_need_them(index: ResourceIndex) -> None:
    credential(type="Anonymous", secretName=None)(index)
    assert asked(index, moment=UNREAD).allowed


def test_explain_asks_every_gate(index: ResourceIndex) -> None:
    install(revoked=True, repositories=["ghcr.io/acme/blog"])(index)
    credential(disabled=True)(index)
    decision = explain(Decision("dec_1", ()), SHOP, "ghcr.io", "acme/app", index, FRESH)
    assert [result.reason for result in decision.results] == [
        Reason.INSTALL_REVOKED,
        Reason.NOT_ENTITLED,
        Reason.CREDENTIAL_DISABLED,
        Reason.PASSED,
    ]


def test_explain_agrees_with_authorize_when_all_is_well(index: ResourceIndex) -> None:
    assert explain(Decision("dec_1", ()), SHOP, "ghcr.io", "acme/app", index, FRESH) == asked(index)


def test_explain_of_no_install_still_tells_of_the_credential() -> None:
    decision = explain(Decision("dec_1", ()), SHOP, "ghcr.io", "acme/app", ResourceIndex(), FRESH)
    assert [result.gate for result in decision.results] == [Gate.INSTALL, Gate.CREDENTIAL, Gate.FRESHNESS]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (lambda index: None, None),
        (credential(disabled=True), Reason.CREDENTIAL_DISABLED),
        (remove(CREDENTIAL), Reason.CREDENTIAL_MISSING),
        (credential(uid="c2"), Reason.CREDENTIAL_MISSING),
    ],
    ids=["as it was", "disabled", "deleted", "made anew"],
)
def test_a_credential_in_use_is_withdrawn(
    index: ResourceIndex, step: Callable[[ResourceIndex], None], reason: Reason | None
) -> None:
    used = index.get(CREDENTIAL)
    assert isinstance(used, RegistryCredential)
    step(index)
    found = credential_withdrawn(used, index)
    assert (found.reason if found else None) == reason
    assert credential_withdrawn(None, index) is None

"""How much one install, and one workspace, may pull: generous for a rollout, too little to fill the trail."""

from __future__ import annotations

import pytest

from proxy.gates.pull_rate import PullLimits, PullRate
from registry_access.model.decision import Gate, Reason
from registry_access.model.install_identity import InstallIdentity

NO_LIMIT = PullLimits(0.0, 0.0, 0, 0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def of(name: str = "shop", workspace: str = "acme", uid: str = "") -> InstallIdentity:
    return InstallIdentity(workspace, name, uid or f"uid-{name}", 1)


def taken(rate: PullRate, identity: InstallIdentity, asked: int) -> int:
    return sum(rate.take(identity) is None for _ in range(asked))


def test_a_rollout_is_served_and_a_loop_is_bounded(clock: Clock) -> None:
    rate = PullRate(PullLimits(), clock)
    assert taken(rate, of(), 5000) == 4000
    clock.now += 1
    assert taken(rate, of(), 5000) == 200


def test_a_refusal_names_install_and_limit_and_when_to_come_back(clock: Clock) -> None:
    rate = PullRate(PullLimits(install_rate=0.05), clock)
    assert rate.take(of()) is None
    exceeded = rate.take(of())
    assert exceeded is not None
    assert (exceeded.result.gate, exceeded.result.reason, exceeded.retry_after) == (Gate.AUDIT, Reason.RATE_LIMITED, 20)
    assert exceeded.result.detail.startswith("install shop may make 0.05 pulls a second")


def test_an_endless_wait_is_a_minute(clock: Clock) -> None:
    rate = PullRate(PullLimits(install_rate=0.001), clock)
    rate.take(of())
    exceeded = rate.take(of())
    assert exceeded is not None
    assert exceeded.retry_after == 60


def test_installs_and_workspaces_do_not_take_from_each_other(clock: Clock) -> None:
    rate = PullRate(PullLimits(install_rate=1.0, workspace_rate=0.0), clock)
    assert taken(rate, of("shop"), 30) == 20
    assert taken(rate, of("other"), 30) == 20
    assert taken(rate, of("shop", "globex"), 30) == 20
    assert taken(rate, of("shop", uid="created-again"), 30) == 20


def test_many_installs_of_a_workspace_share_its_limit_and_its_neighbour_has_its_own(clock: Clock) -> None:
    rate = PullRate(PullLimits(install_rate=1.0, workspace_rate=1.5), clock)
    assert [taken(rate, of(name), 20) for name in ("a", "b")] == [20, 10]
    exceeded = rate.take(of("c"))
    assert exceeded is not None
    assert "the installs of workspace acme together" in exceeded.result.detail
    assert taken(rate, of("a", "globex"), 20) == 20


def test_what_the_workspace_refuses_costs_the_install_nothing(clock: Clock) -> None:
    rate = PullRate(PullLimits(install_rate=1.0, workspace_rate=0.5, workspace_day=0), clock)
    assert taken(rate, of("a"), 10) == 10
    assert taken(rate, of("b"), 100) == 0
    clock.now += 1_000_000
    assert taken(rate, of("b"), 10) == 10


def test_a_day_of_pulling_steadily_is_bounded_too(clock: Clock) -> None:
    rate = PullRate(PullLimits(install_rate=0.0, workspace_rate=0.0, install_day=86_400), clock)
    assert taken(rate, of(), 90_000) == 86_400
    clock.now += 10
    assert taken(rate, of(), 90_000) == 10


def test_zero_is_no_limit(clock: Clock) -> None:
    assert taken(PullRate(NO_LIMIT, clock), of(), 10_000) == 10_000

"""How many pulls an install, and all installs of a workspace, may make: each pull writes two records into the shared trail.

"No audit, no pull" holds for every pull, so what is not to be recorded must not be pulled. Part of gate 7, before the intent.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic

from registry_access.model.budget import Budget
from registry_access.model.decision import Gate, GateResult, Reason
from registry_access.model.install_identity import InstallIdentity

_BURST_SECONDS = 20.0  # how much of a rate may come at once: 4,000 pulls at 200 a second
_DAY_SECONDS = 86_400.0
_SOURCES_MAXIMUM = 20_000  # with budgets of their own; the one that was quiet for longest starts afresh
_RETRY_MAXIMUM = 60


@dataclass(frozen=True, slots=True)
class PullLimits:
    """Pulls a second and a day (refilled steadily), of one install and of a whole workspace, in one process. 0: no limit."""

    install_rate: float = 200.0
    workspace_rate: float = 1000.0
    install_day: int = 500_000
    workspace_day: int = 1_000_000


PULL_LIMITS = PullLimits()

# What a budget allows, for a person, and the budget; a pull must be within all of an install's and of its workspace's.
_Budgets = tuple[tuple[str, Budget], ...]


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The refusal, and after how many seconds (1-60) one more pull is within the budget."""

    result: GateResult
    retry_after: int


class PullRate:
    """`clock` is monotonic, in seconds."""

    def __init__(self, limits: PullLimits, clock: Callable[[], float] = monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._sources: OrderedDict[Hashable, _Budgets] = OrderedDict()

    def take(self, identity: InstallIdentity) -> Exceeded | None:
        """Counts one pull, or says which budget it is beyond; one that is refused costs nothing."""
        limits, workspace = self._limits, identity.workspace
        install = self._budgets((workspace, identity.uid), limits.install_rate, limits.install_day)
        whole = self._budgets(workspace, limits.workspace_rate, limits.workspace_day)
        named = ((f"install {identity.install}", install), (f"the installs of workspace {workspace} together", whole))
        for name, budgets in named:
            for allowance, budget in budgets:
                if (wait := budget.wait()) > 0:
                    detail = (
                        f"{name} may make {allowance}, because each is recorded; a client that waits is served, "
                        "and an administrator can raise the limit"
                    )
                    after = min(_RETRY_MAXIMUM, max(1, math.ceil(wait)))
                    return Exceeded(GateResult(Gate.AUDIT, Reason.RATE_LIMITED, detail), after)
        for _, budgets in named:
            for _, budget in budgets:
                budget.take()
        return None

    def _budgets(self, key: Hashable, rate: float, day: int) -> _Budgets:
        budgets = self._sources.pop(key, None)
        if budgets is None:
            burst = (f"{rate:g} pulls a second", Budget(rate, max(1.0, rate * _BURST_SECONDS), self._clock))
            lasting = (f"{day} pulls a day", Budget(day / _DAY_SECONDS, day, self._clock))
            budgets = tuple(each for each, limit in ((burst, rate), (lasting, day)) if limit)
        self._sources[key] = budgets
        if len(self._sources) > _SOURCES_MAXIMUM:
            self._sources.popitem(last=False)
        return budgets

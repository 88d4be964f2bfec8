"""What the proxy is made of. The composition root fills this in; handlers only use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from proxy.gates.authentication import Authenticator
from proxy.gates.authorization import Moment
from proxy.gates.pull_rate import PULL_LIMITS, PullLimits, PullRate
from proxy.metrics import ProxyMetrics
from proxy.oci_errors import Challenger
from proxy.pull.large_documents import LargeDocuments
from proxy.pull.open_streams import OpenStreams
from proxy.reporting.refusals import INSTALLS, STRANGERS, Refusals
from proxy.upstream.upstreams import Upstreams
from registry_access.audit.interface import AuditTrail
from registry_access.audit.repeats import Rate
from registry_access.model.signing_key import SigningKey
from registry_access.state.index import ResourceIndex
from registry_access.state.interface import HeldSecrets


@dataclass(frozen=True, slots=True)
class ProxyServices:
    """`staleness` gives seconds, `secrets` how current a workspace's Secrets are, `clock` epoch seconds, `access_key` the key
    that signs access tokens now.
    """

    host: str
    index: ResourceIndex
    staleness: Callable[[], float]
    staleness_limit: float
    secrets: Callable[[str], HeldSecrets]
    authenticator: Authenticator
    challenger: Challenger
    access_key: Callable[[], SigningKey]
    access_token_lifetime: float
    trail: AuditTrail
    upstreams: Upstreams
    streams: OpenStreams
    telemetry: ProxyMetrics
    clock: Callable[[], float]
    refused_installs: Rate = INSTALLS
    refused_strangers: Rate = STRANGERS
    pull_limits: PullLimits = PULL_LIMITS
    pull_rate: PullRate = field(init=False)
    refusals: Refusals = field(init=False)
    documents: LargeDocuments = field(init=False)

    def __post_init__(self) -> None:
        refusals = Refusals(self.trail, self.telemetry, self.challenger, self.refused_installs, self.refused_strangers)
        object.__setattr__(self, "refusals", refusals)
        object.__setattr__(self, "pull_rate", PullRate(self.pull_limits))
        object.__setattr__(self, "documents", LargeDocuments(self.telemetry))

    def moment(self) -> Moment:
        return Moment(datetime.fromtimestamp(self.clock(), UTC), self.staleness(), self.staleness_limit, self.secrets)

"""Admits connections: a bound in all, a bound for each address, and room for clients that are known.

A connection begins as a stranger's. It becomes known when the application says so, after it has verified who sends. When there is
no room, the newcomer takes the place of the stranger that has been there longest, then of the known connection that has been idle
longest. So a crowd of strangers can hurry other strangers, but it can neither end a known client's request nor keep a client out.

Known clients together keep a quarter of the places open, and share the rest by workspace: beyond that, the workspace that has
most has strangers' places for its newest. So no workspace keeps the others out, with however many installs.

Behind a load balancer every client has the balancer's address. For peers in `trusted` the bound per address therefore applies to
requests in progress, by the address that the balancer forwards, and not to connections.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from registry_access.runtime.connections.limits import Limits

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Observer(Protocol):
    """Counts for metrics. `reason` is one of the constants below."""

    def connections(self, strangers: int, known: int) -> None: ...

    def ended(self, reason: str) -> None: ...


ADDRESS_FULL, ALL_FULL = "address-full", "full"  # refused
DISPLACED, HANDSHAKE, HEAD, BODY, STALL = "displaced", "handshake", "head", "body", "stall"  # ended


class Unobserved:
    """Counts nothing."""

    def connections(self, strangers: int, known: int) -> None:
        """Nobody asks."""

    def ended(self, reason: str) -> None:
        """Nobody asks."""


class Standing(Protocol):
    """What a request in progress counts as."""

    def begin(self) -> None:
        """The application has it."""

    def know(self, client: str) -> None:
        """Its sender is verified to be `client`, a name that is that client's alone."""

    def end(self) -> None:
        """It is answered."""


class Slot:
    """One connection's place. `drop` ends the connection at once, whatever state it is in."""

    __slots__ = ("_verified", "address", "busy", "client", "drop", "freed", "gate", "idle_since", "trusted")

    def __init__(self, gate: Gate, address: str, drop: Callable[[], None], *, trusted: bool) -> None:
        self.gate = gate
        self.address = address
        self.drop = drop
        self.trusted = trusted
        self.client = ""
        self.busy = False
        self.idle_since = gate.clock()
        self.freed = False
        self._verified = False

    def begin(self) -> None:
        self.busy = True
        self._verified = False

    def know(self, client: str) -> None:
        self._verified = True
        self.gate.know(self, client)

    def end(self) -> None:
        """Whose last request was not verified is a stranger again: its token may be revoked."""
        self.busy = False
        self.idle_since = self.gate.clock()
        if not self._verified and self.client:
            self.gate.forget(self)

    def free(self) -> None:
        """The connection is gone. May be called again."""
        self.gate.free(self)

    def ended(self, reason: str) -> None:
        """Counts why the server ended this connection."""
        self.gate.observer.ended(reason)

    def claim(self, address: str) -> Claim | None:
        """Room for a request that a trusted peer forwards for `address`, or None."""
        return self.gate.claim(address, self)


class Claim:
    """A forwarded request in progress, counted against its sender's address until it is known or over."""

    __slots__ = ("_address", "_held", "_slot")

    def __init__(self, slot: Slot, address: str) -> None:
        self._slot, self._address, self._held = slot, address, True

    def begin(self) -> None:
        self._slot.begin()

    def know(self, client: str) -> None:
        self._release()
        self._slot.gate.know(self._slot, client)

    def end(self) -> None:
        self._slot.end()
        self._slot.gate.forget(self._slot)
        self._release()

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._slot.gate.unclaim(self._address)


class Gate:
    """The connections of one listener. Not thread-safe: it belongs to the event loop."""

    def __init__(
        self,
        limits: Limits,
        observer: Observer | None = None,
        trusted: Sequence[Network] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.observer: Observer = observer or Unobserved()
        self.clock = clock
        self._trusted = tuple(trusted)
        # Dictionaries keep their order: the first stranger is the one that has been there longest.
        self._strangers: dict[Slot, None] = {}
        self._strangers_of: dict[str, dict[Slot, None]] = {}
        self._known: dict[Slot, None] = {}
        self._known_of: Counter[str] = Counter()
        self._workspaces: dict[str, dict[Slot, None]] = {}
        self._shared = limits.connections - limits.connections // 4
        self._claims: Counter[str] = Counter()

    def trusts(self, address: str) -> bool:
        """Whether `address` is one of the load balancers whose forwarding headers count."""
        parsed = _parsed(address) if self._trusted else None
        return parsed is not None and any(parsed in network for network in self._trusted)

    def admit(self, address: str, drop: Callable[[], None]) -> Slot | None:
        """A place for a connection from `address`, or None when there is none and nobody can be displaced."""
        trusted = self.trusts(address)
        key = bucket(address)
        if not trusted and 0 < self.limits.per_address <= len(self._strangers_of.get(key, ())):
            # Its own neighbour makes room: behind one address there may be an attacker and a client.
            self._displace(next(iter(self._strangers_of[key])))
        if len(self._strangers) + len(self._known) >= self.limits.connections:
            victim = next(iter(self._strangers), None) or self._longest_idle()
            if victim is None:
                self.observer.ended(ALL_FULL)
                return None
            self._displace(victim)
        slot = Slot(self, key, drop, trusted=trusted)
        if trusted:
            self._known[slot] = None  # everybody's requests arrive on it
        else:
            self._estrange(slot)
        self._count()
        return slot

    def know(self, slot: Slot, client: str) -> None:
        """`client` is "workspace/install", or any name that stands for itself."""
        if slot.freed or slot.client == client:
            return
        if not self._has_share(client):
            # Beyond its share a client is a stranger, and served as one.
            if slot.trusted and slot not in self._strangers:
                self._remove(slot)
                self._estrange(slot)
                self._count()
            return
        self._remove(slot)
        slot.client = client
        self._known[slot] = None
        self._known_of[client] += 1
        self._workspaces.setdefault(_workspace(client), {})[slot] = None
        self._count()

    def _has_share(self, client: str) -> bool:
        """Whether one more of `client` keeps its place. Where all are taken, one of the workspace that has most loses its own."""
        if self.limits.per_client and self._known_of[client] >= self.limits.per_client:
            return False
        if sum(map(len, self._workspaces.values())) < self._shared:
            return True
        most = max(self._workspaces.values(), key=len)
        if len(self._workspaces.get(_workspace(client), ())) + 1 >= len(most):
            return False
        newest = next(reversed(most))
        self._remove(newest)
        self._estrange(newest)
        return True

    def free(self, slot: Slot) -> None:
        if not slot.freed:
            self._remove(slot)
            slot.freed = True
            self._count()

    def forget(self, slot: Slot) -> None:
        """A known connection becomes a stranger's; a trusted peer's becomes everybody's again."""
        if slot.freed or (slot.trusted and slot in self._known and not slot.client):
            return
        self._remove(slot)
        if slot.trusted:
            self._known[slot] = None
        else:
            self._estrange(slot)
        self._count()

    def claim(self, address: str, slot: Slot) -> Claim | None:
        key = bucket(address)
        if 0 < self.limits.per_address <= self._claims[key]:
            self.observer.ended(ADDRESS_FULL)
            return None
        self._claims[key] += 1
        return Claim(slot, key)

    def unclaim(self, key: str) -> None:
        self._claims[key] -= 1
        if self._claims[key] <= 0:
            del self._claims[key]

    def _displace(self, victim: Slot) -> None:
        self.observer.ended(DISPLACED)
        self.free(victim)
        victim.drop()

    def _longest_idle(self) -> Slot | None:
        return min((slot for slot in self._known if not slot.busy), key=lambda slot: slot.idle_since, default=None)

    def _estrange(self, slot: Slot) -> None:
        self._strangers[slot] = None
        if not slot.trusted:
            self._strangers_of.setdefault(slot.address, {})[slot] = None

    def _remove(self, slot: Slot) -> None:
        self._known.pop(slot, None)
        self._strangers.pop(slot, None)
        if slot.client:
            self._known_of[slot.client] -= 1
            if self._known_of[slot.client] <= 0:
                del self._known_of[slot.client]
            theirs = self._workspaces[_workspace(slot.client)]
            del theirs[slot]
            if not theirs:
                del self._workspaces[_workspace(slot.client)]
            slot.client = ""
        same = self._strangers_of.get(slot.address)
        if same is not None:
            same.pop(slot, None)
            if not same:
                del self._strangers_of[slot.address]

    def _count(self) -> None:
        self.observer.connections(len(self._strangers), len(self._known))


def _workspace(client: str) -> str:
    return client.partition("/")[0]


def bucket(address: str) -> str:
    """What counts as one address: IPv4 as it is, IPv6 by /64, which is what one host can have all of (RFC 4291, 2.5.4)."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64)) + "/64"
    return str(parsed) if parsed else address


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed

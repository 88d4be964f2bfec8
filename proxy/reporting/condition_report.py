"""Keeps the conditions of credentials and installs true: written when something changes, within seconds, by any proxy.

Several proxies see the same objects and write the same words; a write is guarded by the version that was read, and whoever is
second finds nothing left to say. Writes are bounded and off the way of pulls.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from proxy.reporting.conditions import (
    Met,
    credential_ready,
    credential_verified,
    install_pullable,
    untried,
)
from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result
from registry_access.model.budget import Budget
from registry_access.model.decision import Reason
from registry_access.model.errors import AkuaError, Conflict, NotFound
from registry_access.model.occurrence import EventReason, occurrence
from registry_access.model.resources import Condition, Install, Key, Kind, Namespace, RegistryCredential, Resource
from registry_access.model.resources.metadata import PULLABLE, READY, SYSTEM_NAMESPACE, VERIFIED, condition_of
from registry_access.model.workspace_secret import ResolvedSecret, resolve_secret
from registry_access.state.event_recorder import Recorder
from registry_access.state.index import Change, ResourceIndex
from registry_access.state.interface import StateStore

logger = logging.getLogger(__name__)
_ANSWERS_MAXIMUM = 32  # repositories of one object, between two writes
_OBJECTS_MAXIMUM = 10_000  # with answers that are not written yet
_PER_SECOND, _AT_ONCE = 20.0, 100.0  # writes
_SETTLING_SECONDS = 2.0  # what is made together (a Secret, a workspace's RoleBinding) is not reported half done
_FAILURES_AT_ONCE = 3  # then the API server is taken to be away, and the rest waits for the next round
_EXPIRY_SECONDS = 600.0  # time alone changes what is to be said of a credential's end
_UNREAD_SECONDS = 10.0  # no change tells that Secrets can be read again
_WITHOUT_PAUSE = 50  # objects looked at
_WATCHED = frozenset({Kind.NAMESPACE, Kind.SECRET, Kind.REGISTRY_CREDENTIAL, Kind.PRODUCT, Kind.INSTALL})
_LOOK_AGAIN = frozenset({Reason.SECRETS_UNREADABLE, Reason.SECRET_MISSING, Reason.SECRET_INVALID})
_REASONS: Mapping[str, Reason] = {str(reason): reason for reason in Reason}


@dataclass(slots=True)
class ConditionReport:
    """`observe` is told of every audited event; `start` follows the index and writes every `seconds`. `clock`: epoch seconds."""

    store: StateStore
    events: Recorder
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    seconds: float = 1.0
    staleness_limit: float = 15.0
    words: Callable[[str, str], str] = lambda message, workspace: message  # a message as people of this state read it
    _due: dict[Key, None] = field(default_factory=dict)  # in the order in which they came
    _workspaces: dict[str, None] = field(default_factory=dict)  # all of whose objects are due
    _met: dict[Key, dict[str, Met]] = field(default_factory=dict)
    _settling: dict[Key, float] = field(default_factory=dict)  # since when something is wrong that is not written yet
    _fingerprints: dict[Key, str] = field(default_factory=dict)  # of the secrets of credentials
    _budget: Budget = field(init=False)
    _unread: dict[str, None] = field(default_factory=dict)  # workspaces whose Secrets could not be read when looked at last
    _unread_at: float = 0.0
    _told: str = ""
    _failed: int = 0  # writes, in this round
    _expiries_at: float = 0.0
    _unsubscribe: Callable[[], None] = lambda: None
    _task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._budget = Budget(_PER_SECOND, _AT_ONCE, self.monotonic)

    @property
    def _index(self) -> ResourceIndex:
        return self.store.index

    def observe(self, event: AuditEvent, outcome: AuditOutcome) -> None:
        if not event.install or not event.registry or event.operation in (Operation.ADMISSION, Operation.TOKEN):
            return
        refused = None if outcome.result is Result.ALLOWED else _REASONS.get(outcome.reason, Reason.UPSTREAM_FAILED)
        if refused in _LOOK_AGAIN:
            self._workspaces[event.workspace] = None
        met = Met(f"{event.registry}/{event.repository}", refused, outcome.detail)
        if not met.counts:
            return
        install = self._index.install(event.workspace, event.install)
        if install is not None and (refused or _is_false(install.status.conditions, PULLABLE)):
            self._meet(install.key, met)
        credential = self._index.credential(event.workspace, outcome.credential)
        if credential is not None and (refused or not _is_true(credential.status.conditions, VERIFIED)):
            self._meet(credential.key, met)

    def start(self) -> None:
        self._unsubscribe = self._index.subscribe(self._changed, _WATCHED)
        self._workspaces.update(dict.fromkeys(item.workspace for item in self._index.all_credentials()))
        self._workspaces.update(dict.fromkeys(item.workspace for item in self._index.installs()))
        self._task = asyncio.create_task(self._run(), name="condition report")

    async def stop(self) -> None:
        """Writes what is due."""
        self._unsubscribe()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            await self.write()

    async def write(self) -> None:
        """Writes what changed, as far as the budget goes; what cannot be written now is left to the next time."""
        self._take_workspaces()
        self._failed = 0
        for looked_at, key in enumerate(list(self._due), 1):
            if looked_at % _WITHOUT_PAUSE == 0:
                await asyncio.sleep(0)  # pulls come first
            if not await self._write(key):
                return

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.seconds)
            if self.clock() - self._expiries_at >= _EXPIRY_SECONDS:
                self._expiries_at = self.clock()
                self._due.update(dict.fromkeys(item.key for item in self._index.all_credentials() if item.expires_at))
            try:
                await self.write()
            except Exception:
                logger.exception("conditions could not be reported")

    async def _write(self, key: Key) -> bool:
        """False when nothing more can be written now."""
        found = self._index.get(key)
        answers = tuple(self._met.get(key, {}).values())
        patch: dict[str, object] = {}
        if isinstance(found, RegistryCredential) and not found.deleting:
            patch = self._credential_patch(found, answers)
        elif isinstance(found, Install) and not found.deleting:
            patch = self._install_patch(found, answers)
        if found is None or not patch:
            self._forget(key, answers, found)
            return True
        if not self._budget.take():
            return False
        try:
            await self.store.patch_status(key, patch, resource_version=found.metadata.resource_version)
        except (Conflict, NotFound):
            return True  # what was faster comes through the watch, and it is looked at again
        except AkuaError as error:
            if str(error) != self._told:
                logger.warning("the status of %s could not be written, it is tried again: %s", key, error)
            self._told = str(error)
            self._due[key] = self._due.pop(key, None)  # behind the others: one that is refused must not hold them up
            self._failed += 1
            return self._failed < _FAILURES_AT_ONCE
        self._told = ""
        if isinstance(found, RegistryCredential):
            self._tell(found)
        self._settling.pop(key, None)
        self._forget(key, answers, found)
        return True

    def _credential_patch(self, found: RegistryCredential, answers: Collection[Met]) -> dict[str, object]:
        now = datetime.fromtimestamp(self.clock(), UTC)
        ready, version = credential_ready(found, self._index, now, self._unreadable)
        present = {item.type: item for item in found.status.conditions}
        if self._waits(found.key, ready.status == "False" and not _is_false(present.values(), READY)):
            return {}
        verified = credential_verified(found, answers, now)
        if not answers and self._fingerprints.get(found.key, "") not in ("", self._fingerprint(found)):
            verified = untried(found)
        wanted = present | {item.type: item for item in (ready, verified) if item is not None}
        patch = self._conditions_patch(found, wanted, now)
        if version != found.status.secret_version:
            patch["secretVersion"] = version or None
        return patch

    def _install_patch(self, found: Install, answers: Collection[Met]) -> dict[str, object]:
        now = datetime.fromtimestamp(self.clock(), UTC)
        present = {item.type: item for item in found.status.conditions}
        pullable = install_pullable(found, self._index, answers, now, self._unreadable)
        is_worse = pullable is not None and pullable.status == "False" and not _is_false(present.values(), PULLABLE)
        if self._waits(found.key, is_worse and not answers) or pullable is None:
            return {}
        return self._conditions_patch(found, present | {PULLABLE: pullable}, now)

    def _conditions_patch(
        self, found: Install | RegistryCredential, wanted: Mapping[str, Condition], now: datetime
    ) -> dict[str, object]:
        """Nothing when `found` says it all already."""
        before = {item.type: item for item in found.status.conditions}
        worded = [self._worded(found, condition) for condition in wanted.values()]
        if not any(_differs(condition, before.get(condition.type)) for condition in worded):
            return {}
        return {"conditions": [item.following(before.get(item.type), now).to_manifest() for item in worded]}

    def _worded(self, resource: Install | RegistryCredential, condition: Condition) -> Condition:
        return replace(condition, message=self.words(condition.message, resource.workspace))

    def _unreadable(self, workspace: str) -> str:
        held = self.store.secrets_of(workspace)
        if held.staleness <= self.staleness_limit:
            return ""
        why = f": {held.problem}" if held.problem else ""
        return f"the proxy cannot read the Secrets of workspace {workspace}{why}; see its RoleBinding akua-proxy"

    def _waits(self, key: Key, is_worse: bool) -> bool:
        """Whether something that has just gone wrong is to be looked at again first."""
        if not is_worse:
            self._settling.pop(key, None)
            return False
        return self.monotonic() - self._settling.setdefault(key, self.monotonic()) < _SETTLING_SECONDS

    def _fingerprint(self, credential: RegistryCredential) -> str:
        resolved = resolve_secret(credential, partial(self._index.secret, credential.workspace))
        return resolved.fingerprint if isinstance(resolved, ResolvedSecret) else ""

    def _tell(self, before: RegistryCredential) -> None:
        """An Event when a credential cannot be used any more, from the proxy that wrote it down."""
        ready, _ = credential_ready(before, self._index, datetime.fromtimestamp(self.clock(), UTC), self._unreadable)
        ready = self._worded(before, ready)
        if ready.status == "True" or not _differs(ready, condition_of(before.status.conditions, READY)):
            return
        note = f"{ready.reason}: {ready.message}"
        self.events.record(occurrence(before, EventReason.CREDENTIAL_UNUSABLE, "Check", note, warning=True, alike=ready.reason))

    def _meet(self, key: Key, met: Met) -> None:
        known = self._met.setdefault(key, {}) if key in self._met or len(self._met) < _OBJECTS_MAXIMUM else {}
        known.pop(met.repository, None)  # the newest last
        known[met.repository] = met
        if len(known) > _ANSWERS_MAXIMUM:
            del known[next(iter(known))]
        self._due[key] = None

    def _forget(self, key: Key, answers: Collection[Met], found: Resource | None) -> None:
        """`answers` are written, or made no difference; others may have come meanwhile."""
        known = self._met.get(key, {})
        for answer in answers:
            if known.get(answer.repository) is answer:
                del known[answer.repository]
        if not known:
            self._met.pop(key, None)
        if found is None:
            self._settling.pop(key, None)
            self._fingerprints.pop(key, None)
        elif isinstance(found, RegistryCredential) and (fingerprint := self._fingerprint(found)):
            self._fingerprints[key] = fingerprint
        if found is not None and self._unreadable(key.namespace):
            self._unread[key.namespace] = None
        if not known and key not in self._settling:
            self._due.pop(key, None)

    def _changed(self, change: Change) -> None:
        key, before, after = change.key, change.before, change.after
        if key.namespace == SYSTEM_NAMESPACE:
            return  # heartbeats and our own keys
        if key.kind is Kind.NAMESPACE:
            was, is_now = (isinstance(item, Namespace) and item.is_workspace for item in (before, after))
            if was != is_now:
                self._workspaces[key.name] = None
        elif key.kind is Kind.INSTALL or _is_status_alone(before, after):
            self._due[key] = None
        else:
            self._workspaces[key.namespace] = None

    def _take_workspaces(self) -> None:
        if self._unread and self.monotonic() - self._unread_at >= _UNREAD_SECONDS:
            self._workspaces.update(self._unread)
            self._unread, self._unread_at = {}, self.monotonic()
        if not self._workspaces:
            return
        workspaces, self._workspaces = self._workspaces, {}
        found = (*self._index.all_credentials(), *self._index.installs())
        self._due.update(dict.fromkeys(item.key for item in found if item.workspace in workspaces))


def _differs(condition: Condition, before: Condition | None) -> bool:
    """In what people read: the generation alone is no reason to write."""
    return before is None or (condition.status, condition.reason, condition.message) != (
        before.status,
        before.reason,
        before.message,
    )


def _is_status_alone(before: Resource | None, after: Resource | None) -> bool:
    """Whether a credential's status changed and nothing else."""
    if not isinstance(before, RegistryCredential) or not isinstance(after, RegistryCredential):
        return False
    return before.metadata.generation == after.metadata.generation and before.deleting == after.deleting


def _is_true(conditions: Iterable[Condition], type: str) -> bool:
    found = condition_of(conditions, type)
    return found is not None and found.status == "True"


def _is_false(conditions: Iterable[Condition], type: str) -> bool:
    found = condition_of(conditions, type)
    return found is not None and found.status == "False"

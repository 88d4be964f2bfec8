"""Why pulls fail, as Events of the install and, where the upstream refuses our login, of the registry credential.

`kubectl describe install shop` then shows what kubelet saw on some node: reason, image, decision, and which client asked. Only
refusals of a verified token of an existing install become Events; a stranger makes none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from registry_access.model.audit_event import AuditEvent, AuditOutcome, Operation, Result, safe_text
from registry_access.model.decision import Reason
from registry_access.model.occurrence import EventReason, occurrence
from registry_access.model.resources import Install, RegistryCredential
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.state.event_recorder import Recorder
from registry_access.state.index import ResourceIndex

PULL = "Pull"
_REASONS: Mapping[Result, EventReason] = {
    Result.REFUSED: EventReason.PULL_REFUSED,
    Result.CUT: EventReason.PULL_CUT,
    Result.FAILED: EventReason.PULL_FAILED,
}
# Part of how clients work: one that goes away, and one that asks for a further scope.
_ORDINARY = frozenset({str(Reason.CLIENT_CLOSED), str(Reason.SCOPE_INSUFFICIENT)})
_LOGIN = frozenset({str(Reason.UPSTREAM_UNAUTHORIZED), str(Reason.UPSTREAM_DENIED)})
_MANIFESTS = frozenset({Operation.PULL_MANIFEST, Operation.HEAD_MANIFEST})
_WITHOUT_IMAGE: Mapping[Operation, str] = {Operation.TOKEN: "a token was asked for", Operation.PING: "a login"}
_AGENT_MAXIMUM = 64
_AMOUNTS = re.compile(r"\d+(?:\.\d+)?(?= ?(?:ms|s|seconds|bytes|B|KiB|MiB)\b)")  # they differ each time


class PullEvents:
    """`observe` is called with every audited event. `in_cluster`: the commands in the notes are for a person with kubectl."""

    def __init__(self, index: ResourceIndex, recorder: Recorder, *, in_cluster: bool = False) -> None:
        self._index = index
        self._recorder = recorder
        self._audit = (
            f"kubectl -n {SYSTEM_NAMESPACE} exec deploy/akua-proxy -- akua audit list" if in_cluster else "akua audit list"
        )
        self._akua = "AKUA_STATE=kubernetes akua" if in_cluster else "akua"

    def observe(self, event: AuditEvent, outcome: AuditOutcome) -> None:
        word = _REASONS.get(outcome.result)
        if word is None or not outcome.reason or outcome.reason in _ORDINARY or not event.install:
            return
        if outcome.reason == Reason.UPSTREAM_NOT_FOUND and event.operation not in _MANIFESTS:
            return  # clients ask for referrers and blobs that need not be there
        install = self._index.install(event.workspace, event.install)
        if install is None:
            return
        note = (
            f"{_image(event)}: {outcome.detail or outcome.reason} ({outcome.reason}, decision {event.decision_id}, "
            f"asked by {_client(event)}); `{self._audit} --install {event.install}` lists them all"
        )
        alike = _alike(event, outcome)
        self._recorder.record(occurrence(install, word, PULL, note, warning=True, alike=alike))
        if outcome.reason in _LOGIN:
            self._record_on_credential(event, outcome, install)

    def _record_on_credential(self, event: AuditEvent, outcome: AuditOutcome, install: Install) -> None:
        credential: RegistryCredential | None = self._index.credential(event.workspace, outcome.credential)
        if credential is None:
            return
        name = credential.metadata.name
        workspace = f" --workspace {event.workspace}" if self._akua != "akua" else ""
        note = (
            f"{_image(event)}, pulled by install {install.metadata.name}: {outcome.detail or outcome.reason} ({outcome.reason}, "
            f"decision {event.decision_id}); `{self._akua} credential test {name}{workspace}` says why the login fails"
        )
        self._recorder.record(
            occurrence(credential, EventReason.UPSTREAM_REFUSED, PULL, note, warning=True, alike=_alike(event, outcome))
        )


def _alike(event: AuditEvent, outcome: AuditOutcome) -> str:
    """What makes two failures the same one: reason, image (whatever its tag) and cause."""
    return "\n".join((outcome.reason, f"{event.registry}/{event.repository}", _AMOUNTS.sub("#", outcome.detail)))


def _image(event: AuditEvent) -> str:
    if not event.registry:
        return _WITHOUT_IMAGE.get(event.operation, "pulls")
    separator = "@" if event.reference.startswith("sha256:") else ":"
    return f"{event.registry}/{event.repository}{f'{separator}{event.reference}' if event.reference else ''}"


def _client(event: AuditEvent) -> str:
    agent = safe_text(event.user_agent, _AGENT_MAXIMUM)
    return " ".join(part for part in (event.client_address or "an unknown address", agent) if part)

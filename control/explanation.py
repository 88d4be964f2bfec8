"""What a pull would meet now: evaluates the gates without a pull."""

from __future__ import annotations

from datetime import UTC, datetime

from control.session import Session
from proxy.gates import authorization
from proxy.gates.authorization import Moment
from proxy.gates.credential_choice import choose_credential
from proxy.reporting.conditions import DENIED
from registry_access.model.decision import Decision, Gate, GateResult, Reason, new_decision_id, passed
from registry_access.model.names.image_reference import ImageReference
from registry_access.model.names.proxied_reference import Unchanged, UnchangedReason, from_proxied, to_proxied
from registry_access.model.resources import Condition, Install, RegistryCredential
from registry_access.model.resources.metadata import VERIFIED, condition_of
from registry_access.settings import Settings
from registry_access.state.index import ResourceIndex

NOT_ASKED = {
    Gate.AUDIT: "evaluated by each pull: is the intent in the audit trail?",
    Gate.UPSTREAM: "evaluated by each pull; run `akua credential test` to ask now",
}


def explain_pull(session: Session, install: str, image: str) -> tuple[Decision, ImageReference | None, Condition | None]:
    """The decision for an install of the workspace, the upstream image, and the upstream's last answer (`last_answer`).

    Raises NotFound, or StateUnavailable if the user may not list the workspace's Secrets.
    """
    found = session.install(install)
    if session.sealed:
        for credential in session.credentials():
            session.value_of(credential)  # otherwise gate 5 would be wrong
    decision, upstream = decide(session.index, found, image, session.settings)
    return decision, upstream, last_answer(session.index, found, upstream)


def decide(index: ResourceIndex, install: Install, image: str, settings: Settings) -> tuple[Decision, ImageReference | None]:
    """Gates 1 to 6 for a token that the install would get now, and the upstream image. The state was just read."""
    decision = Decision(new_decision_id(), ())
    upstream = from_proxied(image, settings.host)
    if upstream is None:
        proxied = to_proxied(image, settings.host)
        if isinstance(proxied, Unchanged):
            said = "it names no repository at the proxy" if proxied.reason is UnchangedReason.ALREADY_PROXIED else proxied.detail
            return decision.extended(GateResult(Gate.PATH, Reason.PATH_INVALID, said)), None
        upstream = proxied.upstream
    decision = decision.extended(passed(Gate.PATH, str(upstream)), passed(Gate.TOKEN, "a current token of this install"))
    identity = install.identity
    moment = Moment(datetime.now(UTC), 0.0, settings.staleness_limit)
    return authorization.explain(decision, identity, upstream.registry, upstream.repository, index, moment), upstream


def last_answer(index: ResourceIndex, install: Install, upstream: ImageReference | None) -> Condition | None:
    """The upstream's last answer to pulls with the credential for this image; None if unknown."""
    if upstream is None:
        return None
    credentials = index.credentials(install.workspace, upstream.registry)
    chosen = choose_credential(credentials, install.workspace, upstream.registry, upstream.repository)
    found = condition_of(chosen.status.conditions, VERIFIED) if isinstance(chosen, RegistryCredential) else None
    if found is None or found.status == "Unknown":
        return None
    of_another = found.reason == DENIED and not found.message.startswith(f"{upstream.registry}/{upstream.repository}: ")
    return None if of_another else found


def as_document(
    decision: Decision, install: str, image: str, upstream: ImageReference | None, answered: Condition | None = None
) -> dict[str, object]:
    """A decision for scripts: JSON values only. `answered`: see `last_answer`."""
    refusal = decision.refusal
    asked = {result.gate: result for result in decision.results}
    return {
        "install": install,
        "image": image,
        "upstream": str(upstream) if upstream else "",
        "allowed": decision.allowed,
        "gate": str(refusal.gate) if refusal else "",
        "reason": str(refusal.reason) if refusal else "",
        "detail": refusal.detail if refusal else "",
        "gates": [_gate(gate, asked.get(gate)) for gate in Gate],
        "upstreamAnswered": answered.to_manifest() if answered else None,
    }


def _gate(gate: Gate, result: GateResult | None) -> dict[str, str]:
    outcome = "not-asked" if result is None else "passed" if result.passed else "refused"
    return {
        "gate": str(gate),
        "outcome": outcome,
        "reason": str(result.reason) if result else "",
        "detail": result.detail if result else "",
    }

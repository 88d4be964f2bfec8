"""A decision and its gates."""

from __future__ import annotations

from registry_access.model.decision import Decision, Gate, GateResult, Reason, new_decision_id, passed


def test_a_decision_stops_at_its_refusal() -> None:
    decision = Decision(new_decision_id(), (passed(Gate.PATH),))
    assert decision.allowed
    refused = decision.extended(GateResult(Gate.TOKEN, Reason.TOKEN_EXPIRED, "it expired"))
    assert not refused.allowed
    assert refused.id == decision.id
    assert refused.refusal is not None
    assert refused.refusal.gate is Gate.TOKEN

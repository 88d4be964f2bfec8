"""What is answered, recorded and counted when a gate says no."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from proxy.gates.upstream_gate import judge_error, judge_status
from proxy.oci_errors import ANSWERS, Challenger, OciError, refusal_error
from proxy.pull.exchange import Exchange
from proxy.upstream.errors import (
    AddressRefused,
    LoginFailed,
    RateLimited,
    RealmRefused,
    UpstreamMisbehaved,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from registry_access.model.audit_event import Operation, Result
from registry_access.model.decision import REASONS, Decision, Gate, GateResult, Reason
from registry_access.model.errors import UpstreamError

CHALLENGER = Challenger("https://oci.akua.dev/token", "oci.akua.dev")


def refused(reason: Reason, scope: str = "") -> OciError:
    return refusal_error(Decision("dec_1", (GateResult(Gate.INSTALL, reason, "because"),)), CHALLENGER, scope=scope)


def test_every_reason_for_a_refusal_has_an_answer() -> None:
    assert set(Reason) - set(ANSWERS) == {Reason.PASSED, Reason.CLIENT_CLOSED}


@pytest.mark.parametrize("reason", sorted(ANSWERS))
def test_an_answer_names_reason_and_decision(reason: Reason) -> None:
    error = refused(reason, scope="repository:ghcr.io/a/b:pull")
    body = json.loads(bytes(error.response().body))["errors"][0]
    assert body["message"] == "because (dec_1)"
    assert body["detail"] == {"reason": str(reason), "gate": "install", "decision": "dec_1"}
    assert (error.headers["Akua-Decision"], error.headers["Akua-Reason"]) == ("dec_1", str(reason))
    assert error.phrase == f"{reason} dec_1"
    assert ("WWW-Authenticate" in error.headers) is (error.status == 401)
    assert ("Retry-After" in error.headers) is (error.status == 503)


@pytest.mark.parametrize(
    ("reason", "challenge"),
    [
        (Reason.TOKEN_MISSING, 'Bearer realm="https://oci.akua.dev/token",service="oci.akua.dev",scope="s"'),
        (
            Reason.TOKEN_INVALID,
            'Bearer realm="https://oci.akua.dev/token",service="oci.akua.dev",scope="s",error="invalid_token"',
        ),
        (
            Reason.INSTALL_UNKNOWN,
            'Bearer realm="https://oci.akua.dev/token",service="oci.akua.dev",scope="s",error="invalid_token"',
        ),
        (
            Reason.SCOPE_INSUFFICIENT,
            'Bearer realm="https://oci.akua.dev/token",service="oci.akua.dev",scope="s",error="insufficient_scope"',
        ),
    ],
)
def test_the_challenge_is_quoted_and_says_what_is_wrong_with_the_token(reason: Reason, challenge: str) -> None:
    assert refused(reason, scope="s").headers["WWW-Authenticate"] == challenge


@pytest.mark.parametrize(
    ("host", "query", "scheme"),
    [
        ("oci.akua.dev", b"ns=oci.akua.dev", "Basic"),
        ("oci.akua.dev", b"n=5&ns=oci.akua.dev", "Basic"),
        ("127.0.0.1:15000", b"ns=127.0.0.1%3A15000", "Basic"),
        ("oci.akua.dev", b"", "Bearer"),
        ("oci.akua.dev", b"ns=", "Bearer"),
        ("oci.akua.dev", b"ns=docker.io", "Bearer"),
        ("oci.akua.dev", b"ns=oci.akua.dev.evil.example", "Bearer"),
        ("oci.akua.dev", b"dns=oci.akua.dev", "Bearer"),
        ("oci.akua.dev", b"ns=\xff%00%ff&ns", "Bearer"),
    ],
)
def test_only_a_mirror_of_our_own_name_is_asked_for_basic(host: str, query: bytes, scheme: str) -> None:
    challenge = Challenger(f"https://{host}/token", host).challenge("s", "invalid_token", query)
    assert list(challenge) == ["WWW-Authenticate"]
    assert challenge["WWW-Authenticate"].split()[0] == scheme
    assert "realm=" in challenge["WWW-Authenticate"]
    assert scheme == "Bearer" or challenge["WWW-Authenticate"] == f'Basic realm="{host}"'


def test_a_decision_that_allows_is_no_refusal() -> None:
    with pytest.raises(ValueError, match="no refusal"):
        refusal_error(Decision("dec_1", ()), CHALLENGER)


@pytest.mark.parametrize(
    ("status", "asked", "reason"),
    [
        (200, {}, None),
        (206, {"Range": "bytes=0-1"}, None),
        (416, {"Range": "bytes=0-1"}, None),
        (304, {"If-None-Match": '"x"'}, None),
        (304, {"If-Modified-Since": "x"}, None),
        (206, {}, Reason.UPSTREAM_FAILED),
        (304, {}, Reason.UPSTREAM_FAILED),
        (416, {}, Reason.UPSTREAM_FAILED),
        (204, {}, Reason.UPSTREAM_FAILED),
        (302, {}, Reason.UPSTREAM_FAILED),
        (400, {}, Reason.UPSTREAM_REFUSED),
        (451, {}, Reason.UPSTREAM_REFUSED),
        (500, {}, Reason.UPSTREAM_FAILED),
        (401, {}, Reason.UPSTREAM_UNAUTHORIZED),
        (403, {}, Reason.UPSTREAM_DENIED),
        (404, {}, Reason.UPSTREAM_NOT_FOUND),
        (429, {}, Reason.UPSTREAM_RATE_LIMITED),
    ],
)
def test_what_an_upstreams_status_means(status: int, asked: dict[str, str], reason: Reason | None) -> None:
    judged = judge_status(status, "ghcr.io", "ghcr", asked)
    assert (judged.reason if judged else None) == reason
    assert judged is None or "ghcr.io" in judged.detail


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UpstreamUnreachable("x"), Reason.UPSTREAM_UNREACHABLE),
        (AddressRefused("x"), Reason.UPSTREAM_UNREACHABLE),
        (UpstreamTimeout("x"), Reason.UPSTREAM_UNREACHABLE),
        (UpstreamTruncated("x"), Reason.UPSTREAM_TRUNCATED),
        (LoginFailed("x"), Reason.UPSTREAM_UNAUTHORIZED),
        (RealmRefused("x"), Reason.UPSTREAM_UNAUTHORIZED),
        (RateLimited("x"), Reason.UPSTREAM_RATE_LIMITED),
        (UpstreamMisbehaved("x"), Reason.UPSTREAM_FAILED),
        (UpstreamError("x"), Reason.UPSTREAM_FAILED),
    ],
)
def test_what_an_upstreams_failure_means(error: UpstreamError, reason: Reason) -> None:
    assert judge_error(error, "ghcr.io").reason is reason


def test_a_client_that_left_is_no_gates_doing() -> None:
    exchange = Exchange(Operation.PULL_BLOB, "127.0.0.1", "test")
    outcome = exchange.outcome(Result.FAILED, GateResult(Gate.UPSTREAM, Reason.CLIENT_CLOSED, "gone"))
    assert (outcome.gate, outcome.reason) == ("", "client-closed")


def test_what_clients_write_is_kept_on_one_line() -> None:
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"user-agent", b"a\nb")]}
    exchange = Exchange.outside(Operation.INVALID, scope, "/v2/\r\nforged")
    assert (exchange.user_agent, exchange.reference) == ("a\\x0ab", "/v2/\\x0d\\x0aforged")
    assert Exchange.outside(Operation.PING, {"headers": []}).client_address == ""


def test_every_reason_is_documented_with_its_answer() -> None:
    documented = (Path(__file__).parents[4] / "docs" / "request-handling.md").read_text()
    for reason, (status, code) in ANSWERS.items():
        assert f"| `{reason}` | {status} | `{code}` |" in documented
    assert set(re.findall(r"^\| `([a-z-]+)` \| [-\d]", documented, re.MULTILINE)) == set(Reason) - {Reason.PASSED}


def test_every_gate_is_documented_with_its_reasons() -> None:
    documented = (Path(__file__).parents[4] / "docs" / "request-handling.md").read_text()
    table = dict(re.findall(r"^\| \d \| `([a-z]+)` \|[^|]*\|([^|]*)\|", documented, re.MULTILINE))
    assert {gate: set(re.findall("`([a-z-]+)`", reasons)) for gate, reasons in table.items()} == {
        str(gate): set(map(str, reasons)) for gate, reasons in REASONS.items()
    }

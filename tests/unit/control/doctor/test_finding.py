"""What is shown to a person when there is much that is good."""

from __future__ import annotations

from control.doctor.finding import Finding, bad, condensed, good, unseen, warning


def test_many_good_ones_of_a_noun_are_one_line_and_the_others_stay() -> None:
    installs = [good(f"install acme/{number}", "ok") for number in range(5)]
    checks = [good("settings", "ok"), *installs[:2], bad("install acme/x", "no"), *installs[2:], warning("install acme/y", "hm")]
    shown = [(str(check.finding), check.name) for check in condensed(checks, 4)]
    assert shown == [("good", "settings"), ("good", "installs"), ("bad", "install acme/x"), ("warning", "install acme/y")]
    assert condensed(checks, 4)[1].detail.startswith("5 are healthy")
    assert condensed(checks, 5) == checks


def test_all_that_could_not_be_seen_is_one_line_at_the_end() -> None:
    refused = [unseen(name, "not allowed: you cannot get it") for name in ("leader", "deployment akua-proxy")]
    shown = condensed([refused[0], good("clock", "ok"), refused[1]], 4)
    assert [check.name for check in shown] == ["clock", "not looked at"]
    assert shown[1].detail.startswith("you lack the rights to see: leader, deployment akua-proxy; ")


def test_a_server_that_does_not_answer_is_no_want_of_rights() -> None:
    check = unseen("leader", "the API server cannot be reached: timed out")
    assert (check.finding, check.detail) == (
        Finding.WARNING,
        "cannot be looked at: the API server cannot be reached: timed out",
    )

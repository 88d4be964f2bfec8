"""What is shown to a person when there is much that is good."""

from __future__ import annotations

from cli.doctor.finding import bad, condensed, good, warning


def test_many_good_ones_of_a_noun_are_one_line_and_the_others_stay() -> None:
    installs = [good(f"install acme/{number}", "ok") for number in range(5)]
    checks = [good("settings", "ok"), *installs[:2], bad("install acme/x", "no"), *installs[2:], warning("install acme/y", "hm")]
    shown = [(str(check.finding), check.name) for check in condensed(checks, 4)]
    assert shown == [("good", "settings"), ("good", "installs"), ("bad", "install acme/x"), ("warning", "install acme/y")]
    assert condensed(checks, 4)[1].detail.startswith("5 are as they should be")
    assert condensed(checks, 5) == checks

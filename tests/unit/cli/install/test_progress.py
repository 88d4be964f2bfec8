"""How far a sync is: a bar where somebody looks, lines where nobody does; never on standard output."""

from __future__ import annotations

import io

import pytest

from cli.install.progress import sync_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "lines"), [(io.StringIO(), True), (Terminal(), False)])
def test_a_bar_on_a_terminal_and_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stream: io.StringIO, lines: bool
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    with sync_progress(2) as progress:
        progress.at("shop", "120 of 2,000 namespaces")
        progress.done("shop", "2,000 namespaces")
        progress.done("blog", "1 namespace")
    said = stream.getvalue()
    assert ("2/2" in said) is not lines
    assert (said.splitlines() == ["shop: 120 of 2,000 namespaces", "shop: 2,000 namespaces", "blog: 1 namespace"]) is lines
    assert capsys.readouterr().out == ""

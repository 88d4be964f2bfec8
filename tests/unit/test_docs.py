"""The documentation says what the code does: every setting, metric, gate, reason and command."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main

from cli.main import app
from hack.api_reference import api_reference
from hack.configuration_reference import metrics_table, settings_table
from registry_access.model.decision import Gate, Reason
from registry_access.model.occurrence import EventReason
from webhook.install_sync.reports.status import ConditionReason

ROOT = Path(__file__).parent.parent.parent
CONFIGURATION = (ROOT / "docs/configuration.md").read_text("utf-8")
REQUEST_HANDLING = (ROOT / "docs/request-handling.md").read_text("utf-8")
INSTALLS = (ROOT / "docs/installs.md").read_text("utf-8")
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def test_every_setting_is_documented_as_it_is() -> None:
    assert settings_table() in CONFIGURATION, "run hack/reference"


def test_the_api_reference_is_what_the_crds_say() -> None:
    assert api_reference() in (ROOT / "docs/api.md").read_text("utf-8"), "run hack/reference"


def test_every_metric_is_documented_as_it_is() -> None:
    assert metrics_table() in CONFIGURATION, "run hack/reference"


def test_every_gate_and_reason_is_documented() -> None:
    missing = [str(item) for item in (*Gate, *Reason) if f"`{item}`" not in REQUEST_HANDLING and item is not Reason.PASSED]
    assert missing == []


def test_every_condition_and_event_of_an_install_is_documented() -> None:
    missing = [str(item) for item in (*ConditionReason, *EventReason) if f"`{item}`" not in INSTALLS]
    assert missing == []


def test_every_command_that_a_page_shows_exists() -> None:
    group = typer.main.get_command(app)
    shown = {
        match for page in PAGES for match in re.findall(r"akua ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", _code(page.read_text("utf-8")))
    }
    assert shown
    for words in shown:
        name, _, second = words.partition(" ")
        commands = group.commands  # type: ignore[attr-defined]
        assert name in commands, f"`akua {words}`"
        if second and hasattr(commands[name], "commands"):
            assert second in commands[name].commands, f"`akua {words}`"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _code(text: str) -> str:
    """What a page sets as code."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.S))


def test_tests_that_documents_name_are_there() -> None:
    named = {(name, path) for name in PAGES for path in re.findall(r"tests/[a-z0-9_/]+\.py", name.read_text("utf-8"))}
    assert {(name.name, path) for name, path in named if not (ROOT / path).exists()} == set()

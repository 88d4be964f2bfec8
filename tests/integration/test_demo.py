"""`akua demo --once`: every step holds, in a real process, readable without a terminal, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest

from tests.support.akua_process import AKUA


def environment(folder: Path, columns: int = 80) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AKUA_") and name != "ONCE"}
    return kept | {"TMPDIR": str(folder), "COLUMNS": str(columns)}


@pytest.mark.parametrize("columns", [80, 120])
def test_every_step_holds(tmp_path: Path, columns: int) -> None:
    ran = subprocess.run(
        [AKUA, "demo", "--once"], env=environment(tmp_path, columns), capture_output=True, text=True, timeout=110, check=False
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    assert ran.stderr == ""
    assert "Every step held." in ran.stdout
    assert "\x1b" not in ran.stdout
    assert max(len(line) for line in ran.stdout.splitlines()) <= columns
    assert list(tmp_path.iterdir()) == []
    for said in ("not-entitled", "install-revoked", "credential-disabled", "✗ cut", "akua-pull-shop"):
        assert said in ran.stdout


def test_it_goes_on_serving_until_it_is_stopped(tmp_path: Path) -> None:
    out = (tmp_path / "out").open("w+")
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    process = subprocess.Popen([AKUA, "demo"], env=environment(folder), stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 100
        while "/metrics" not in (text := (tmp_path / "out").read_text()) and time.monotonic() < deadline:
            assert process.poll() is None, text
            time.sleep(0.2)
        ready = next(word for word in text.split() if word.endswith("/readyz"))
        answer = httpx.get(ready).json()
        assert (answer["ready"], answer["failures"]) == (True, {})
        config = next(word.partition("=")[2] for word in text.split() if word.startswith("AKUA_CONFIG="))
        listed = subprocess.run(
            [AKUA, "--config", config, "install", "list", "-o", "json"], capture_output=True, text=True, check=True, timeout=30
        )
        assert '"shop"' in listed.stdout
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        out.close()
    assert process.returncode == 0
    assert list(folder.iterdir()) == []


def test_a_step_that_does_not_hold_is_a_failure(tmp_path: Path) -> None:
    # The webhook that never rewrites: no grant is found, so step 2 cannot hold.
    broken = "import webhook.admission.app as app, sys\napp.rewrite_pod = lambda *_: app.Rewriting()\n"
    broken += "from cli.main import main\nsys.exit(main(['demo', '--once']))\n"
    ran = subprocess.run(
        [AKUA.with_name("python"), "-c", broken],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert "akua: step 2 does not hold" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []

"""The installed `akua` program: version, completion, pipes."""

from __future__ import annotations

import os
import subprocess

from tests.support.akua_process import AKUA


def test_version_and_completion() -> None:
    version = subprocess.run([AKUA, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert version.stdout.startswith("akua 0.")
    # What the shell asks when a person types `akua install re<TAB>`.
    environment = os.environ | {"_AKUA_COMPLETE": "complete_bash", "COMP_WORDS": "akua install re", "COMP_CWORD": "2"}
    completion = subprocess.run([AKUA], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert {"revoke", "restore"} <= set(completion.stdout.split())


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    shell = f"yes redis | head -n 50000 | {AKUA} image | head -n 1"
    ran = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.startswith('{"input": "redis"')
    assert ran.stderr == ""

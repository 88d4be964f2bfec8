"""The public conformance suite of the distribution specification, run on content that is there already."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from demo_registry.image import Repository
from tests.support.go_programs import CONFORMANCE, REGISTRY_PROGRAMS, go_program

_NAME = "OCI Conformance Test"
_LINE = re.compile(rf"\s*{_NAME}(/\S[^:]*): (\w+)")
_NOT_OURS = ("PUSH", "BLOBS_DELETE", "MANIFESTS_DELETE", "TAGS_DELETE")


def run_conformance(
    folder: Path,
    registry: str,
    repository: str,
    content: Repository,
    *,
    version: str = "1.1",
    ca_file: str = "",
    user: str = "",
    password: str = "",
) -> Counter[tuple[str, str]]:
    """How often each test ended how: ("/read-only/pull/blob-get", "Pass") -> 7.

    Pull, tags and referrers of everything in `content`; nothing is pushed or deleted. Without a `ca_file` plain HTTP is spoken.
    """
    settings: Mapping[str, str] = {
        "REGISTRY": registry,
        "TLS": "enabled" if ca_file else "disabled",
        "REPO1": repository,
        "REPO2": repository,
        "USERNAME": user,
        "PASSWORD": password,
        "VERSION": version,
        "RESULTS_DIR": str(folder),
        "RO_DATA_TAGS": " ".join(sorted(content.tags)),
        "RO_DATA_MANIFESTS": " ".join(sorted(content.manifests)),
        "RO_DATA_BLOBS": " ".join(sorted(content.blobs)),
        "RO_DATA_REFERRERS": " ".join(sorted({*content.referrers, "sha256:" + "0" * 64})),
        **{f"API_{name}": "false" for name in _NOT_OURS},
    }
    environment = {"SSL_CERT_FILE": ca_file, **{f"OCI_{name}": value for name, value in settings.items()}}
    program = go_program(CONFORMANCE, REGISTRY_PROGRAMS)
    done = subprocess.run(
        [program], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )
    # Its reports in files cannot be used: without push it fails while it writes the first of them.
    results = Counter((found[1], found[2]) for line in done.stdout.splitlines() if (found := _LINE.fullmatch(line)))
    assert results, done.stdout + done.stderr
    return results

"""Remedies as kubectl commands, for people who inspect objects of a cluster and may not have `akua`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

# A remedy that names an `akua` command, and its kubectl equivalent; {0} is the name in it, {workspace} the namespace.
_COMMANDS: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (
            r"has no secret (\S+); (?:`akua credential add` makes one|add one with `akua credential add`)",
            "has no Secret {0}; `kubectl -n {workspace} create secret generic {0}` makes one (entries: docs/registries.md)",
        ),
        (
            r"(?:`akua credential add` makes one|add one with `akua credential add`)",
            "`kubectl -n {workspace} apply` one (docs/install.md, the first workspace)",
        ),
        (
            r"`akua credential enable (\S+)`",
            '`kubectl -n {workspace} patch rcred {0} --type merge -p \'{{"spec":{{"disabled":false}}}}\'`',
        ),
        (r"`akua credential test (\S+)`", "`kubectl -n {workspace} describe rcred {0}`"),
        (
            r"`akua install restore (\S+)`",
            '`kubectl -n {workspace} patch install {0} --type merge -p \'{{"spec":{{"revoked":false}}}}\'`',
        ),
        (r"run `akua install token (\S+)` for a current token", "the pull Secret akua-pull-{0} has a current token"),
        (
            r"`akua audit list --install (\S+)`",
            "`kubectl -n akua-system exec deploy/akua-proxy -- akua audit list -w {workspace} --install {0}`",
        ),
    )
)


def in_cluster_words(text: str, workspace: str) -> str:
    """`text` with each `akua` command that it suggests replaced by the kubectl equivalent in `workspace`."""
    for pattern, words in _COMMANDS:
        text = pattern.sub(partial(_in_words, words, workspace), text)
    return text


def _in_words(words: str, workspace: str, found: re.Match[str]) -> str:
    return words.format(*found.groups(), workspace=workspace)

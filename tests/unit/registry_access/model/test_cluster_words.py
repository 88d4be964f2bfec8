"""Remedies as people with kubectl read them."""

from __future__ import annotations

import pytest

from registry_access.model.cluster_words import in_cluster_words


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "no secret; `akua credential enable ghcr` restores it",
            "patch rcred ghcr --type merge -p",
        ),
        (
            "is revoked; `akua install restore shop` restores it",
            '-p \'{"spec":{"revoked":false}}\'',
        ),
        ("workspace acme has no secret ghcr; `akua credential add` makes one", "`kubectl -n acme create secret generic ghcr`"),
        ("acme has no secret ghcr; add one with `akua credential add`", "`kubectl -n acme create secret generic ghcr`"),
        ("no credential for ghcr.io/a; `akua credential add` makes one", "`kubectl -n acme apply` one"),
        ("dec_1; `akua credential test ghcr` says what is wrong with the login", "`kubectl -n acme describe rcred ghcr` says"),
        ("at 2; run `akua install token shop` for a current token", "the pull Secret akua-pull-shop has a current token"),
        ("dec_1; `akua audit list --install shop` shows every one", "akua audit list -w acme --install shop` shows every one"),
    ],
)
def test_a_remedy_by_akua_is_one_by_kubectl(text: str, says: str) -> None:
    found = in_cluster_words(text, "acme")
    assert says in found
    assert "`akua " not in found


def test_what_names_no_command_stays_as_it_is() -> None:
    assert in_cluster_words("{0} is {workspace} a\\1", "acme") == "{0} is {workspace} a\\1"

"""Access tokens: what they open, and every forgery that does not verify."""

from __future__ import annotations

import dataclasses

import pytest

from proxy.protocol.access_token import AccessTokenClaims, mint_access_token, verify_access_token
from proxy.protocol.scope import parse_scope
from registry_access.model.errors import InvalidToken
from registry_access.model.install_identity import InstallIdentity
from registry_access.model.install_token import (
    InstallTokenClaims,
    install_payload,
    mint_install_token,
    verify_install_token,
)
from registry_access.model.signed_token import sign_token
from registry_access.model.signing_key import SigningKey, VerificationKeys

NOW = 1_800_000_000


KEY = SigningKey.generate()


KEYS = VerificationKeys.of([KEY])


CLAIMS = InstallTokenClaims(InstallIdentity("acme", "shop", "uid-1", 3), "tok_0123456789", NOW, NOW + 3600, "oci.akua.dev")


def verify(token: str, now: float = NOW) -> InstallTokenClaims:
    return verify_install_token(token, KEYS, audience="oci.akua.dev", now=now)


def reason(token: str, now: float = NOW) -> str:
    with pytest.raises(InvalidToken) as caught:
        verify(token, now)
    assert token not in str(caught.value)
    return caught.value.reason


SCOPE = parse_scope("repository:ghcr.io/acme/app:pull")


ACCESS = AccessTokenClaims(dataclasses.replace(CLAIMS, expires_at=NOW + 300), "tok_parent_01", (SCOPE,))


def test_an_access_token_comes_back_as_it_was_made() -> None:
    claims = verify_access_token(mint_access_token(ACCESS, KEY), KEYS, audience="oci.akua.dev", now=NOW)
    assert claims == ACCESS


def test_neither_kind_of_token_passes_for_the_other() -> None:
    assert reason(mint_access_token(ACCESS, KEY)) == "type"
    with pytest.raises(InvalidToken, match="type"):
        verify_access_token(mint_install_token(CLAIMS, KEY), KEYS, audience="oci.akua.dev", now=NOW)


@pytest.mark.parametrize(
    "access", [None, "all", [7], [{"type": "repository", "name": "a"}], [{"type": "r", "name": "a", "actions": [1]}]]
)
def test_malformed_access_is_refused(access: object) -> None:
    from proxy.protocol.access_token import ACCESS_TOKEN

    token = sign_token(ACCESS_TOKEN, KEY, {**install_payload(ACCESS.install), "parent": "tok_parent_01", "access": access})
    with pytest.raises(InvalidToken, match="claims"):
        verify_access_token(token, KEYS, audience="oci.akua.dev", now=NOW)

"""Signing keys and their files."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from registry_access.model.errors import InvalidInput
from registry_access.model.install_identity import InstallIdentity
from registry_access.model.install_token import (
    InstallTokenClaims,
    mint_install_token,
    verify_install_token,
)
from registry_access.model.signing_key import SigningKey, VerificationKeys

NOW = 1_800_000_000


KEY = SigningKey.generate()


KEYS = VerificationKeys.of([KEY])


CLAIMS = InstallTokenClaims(InstallIdentity("acme", "shop", "uid-1", 3), "tok_0123456789", NOW, NOW + 3600, "oci.akua.dev")


def test_keys_survive_their_files_and_hide_themselves() -> None:
    again = SigningKey.from_pem(KEY.to_pem())
    assert again.key_id == KEY.key_id
    assert "private" not in repr(KEY).lower() or "Ed25519" not in repr(KEY)
    assert VerificationKeys.from_jwks(KEYS.to_jwks()).by_id.keys() == {KEY.key_id}
    verify_install_token(
        mint_install_token(CLAIMS, again), VerificationKeys.from_jwks(KEYS.to_jwks()), audience="oci.akua.dev", now=NOW
    )


def test_key_files_that_are_none() -> None:
    rsa = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem in (b"", b"-----BEGIN nonsense", rsa):
        with pytest.raises(InvalidInput, match="Ed25519"):
            SigningKey.from_pem(pem)
    for jwks in ("", "{}", '{"keys":[7]}', '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}'):
        with pytest.raises(InvalidInput, match="JWK"):
            VerificationKeys.from_jwks(jwks)
    assert VerificationKeys.from_jwks('{"keys":[{"kty":"RSA"}]}').by_id == {}

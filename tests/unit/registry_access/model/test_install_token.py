"""Install tokens: what verifies, and every forgery that does not."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from registry_access.model.errors import InvalidToken
from registry_access.model.install_identity import InstallIdentity
from registry_access.model.install_token import (
    INSTALL_TOKEN,
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


def encode(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def signed(payload_part: str, header: dict[str, Any] | None = None) -> str:
    """A token with a good signature over whatever payload and header the test wants."""
    head = encode(header or {"alg": "EdDSA", "typ": INSTALL_TOKEN.type, "kid": KEY.key_id})
    signature = KEY.private.sign(f"{head}.{payload_part}".encode())
    return f"{head}.{payload_part}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def payload(**changes: object) -> dict[str, object]:
    return {"iss": INSTALL_TOKEN.issuer, **install_payload(CLAIMS), **changes}


def reason(token: str, now: float = NOW) -> str:
    with pytest.raises(InvalidToken) as caught:
        verify(token, now)
    assert token not in str(caught.value)
    return caught.value.reason


def test_what_is_minted_verifies() -> None:
    assert verify(mint_install_token(CLAIMS, KEY)) == CLAIMS


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": ["registry.akua.dev/install-sync"]}, "issuer"),
        ({"iss": "someone-else"}, "issuer"),
        ({"iss": "\ud800"}, "issuer"),
        ({"aud": "evil.example"}, "audience"),
        ({"aud": ["oci.akua.dev"]}, "audience"),
        ({"exp": None}, "claims"),
        ({"exp": True}, "claims"),
        ({"exp": "9999999999"}, "claims"),
        ({"exp": 1e400}, "claims"),
        ({"iat": None}, "claims"),
        ({"jti": ""}, "claims"),
        ({"jti": "\ud800\ud800\ud800\ud800\ud800\ud800\ud800\ud800"}, "claims"),
        ({"sub": "install:acme"}, "claims"),
        ({"sub": "user:acme/shop"}, "claims"),
        ({"sub": "install:acme/shop/x"}, "claims"),
        ({"sub": 7}, "claims"),
        ({"uid": ""}, "claims"),
        ({"gen": True}, "claims"),
        ({"gen": -1}, "claims"),
        ({"exp": NOW + 500 * 86_400}, "lifetime"),
        ({"exp": NOW - 10}, "lifetime"),
        ({"iat": NOW + 120}, "not-yet-valid"),
    ],
)
def test_claims_are_required_and_typed(changes: dict[str, object], expected: str) -> None:
    assert reason(signed(encode(payload(**changes)))) == expected


def test_the_leeway_is_thirty_seconds() -> None:
    token = mint_install_token(CLAIMS, KEY)
    assert verify(token, NOW + 3600 + 29) == CLAIMS
    assert verify(token, NOW - 29) == CLAIMS
    assert reason(token, NOW + 3600 + 31) == "expired"
    assert reason(token, NOW - 31) == "not-yet-valid"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": INSTALL_TOKEN.type, "kid": KEY.key_id},
        {"alg": "HS256", "typ": INSTALL_TOKEN.type, "kid": KEY.key_id},
        {"alg": "EdDSA", "typ": "JWT", "kid": KEY.key_id},
        {"alg": "EdDSA", "typ": INSTALL_TOKEN.type, "kid": KEY.key_id, "crit": ["x"]},
        {"alg": "EdDSA", "typ": INSTALL_TOKEN.type, "kid": KEY.key_id, "jku": "https://evil.example/jwks"},
        {"alg": "EdDSA", "typ": INSTALL_TOKEN.type, "kid": KEY.key_id, "jwk": {}},
        {"alg": "EdDSA", "typ": INSTALL_TOKEN.type, "kid": KEY.key_id, "x5u": "https://evil.example"},
        {"alg": "EdDSA", "typ": INSTALL_TOKEN.type},
        {"alg": "EdDSA", "typ": [], "kid": KEY.key_id},
    ],
)
def test_headers_hold_what_we_write_and_nothing_else(header: dict[str, Any]) -> None:
    assert reason(signed(encode(payload()), header)) == "type"


@pytest.mark.parametrize("key_id", ["unknown", "../../etc/passwd", 7, None, ["a"]])
def test_key_ids_name_local_keys_only(key_id: object) -> None:
    header = {"alg": "EdDSA", "typ": INSTALL_TOKEN.type, "kid": key_id}
    assert reason(signed(encode(payload()), header)) == "unknown-key"


def test_other_keys_and_algorithms_do_not_verify() -> None:
    forged = sign_token(INSTALL_TOKEN, SigningKey("x", SigningKey.generate().private), payload())
    assert reason(forged) == "unknown-key"
    impostor = SigningKey(KEY.key_id, SigningKey.generate().private)
    assert reason(mint_install_token(CLAIMS, impostor)) == "signature"
    rsa = generate_private_key(65537, 2048)
    assert reason(jwt.encode(payload(), rsa, algorithm="RS256", headers={"kid": KEY.key_id})) == "malformed"


def test_only_the_canonical_signature_verifies() -> None:
    token = mint_install_token(CLAIMS, KEY)
    assert reason(token + "==") == "malformed"
    assert reason(token + "\n") == "malformed"
    assert reason(token.replace(".", "..", 1)) == "malformed"
    assert reason("a" * 9000) == "malformed"
    # The last base64 digit of 64 bytes carries 4 unused bits: another spelling of the same signature must not pass.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    respelled = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    assert reason(respelled) in {"malformed", "signature"}


@pytest.mark.parametrize(
    "part",
    [
        base64.urlsafe_b64encode(b'{"iss":"a","iss":"b"}').rstrip(b"=").decode(),
        base64.urlsafe_b64encode(b"[1,2]").rstrip(b"=").decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").rstrip(b"=").decode(),
        base64.urlsafe_b64encode(b"[" * 3000).rstrip(b"=").decode(),
    ],
)
def test_payloads_that_are_no_plain_object(part: str) -> None:
    assert reason(signed(part)) == "claims"
    assert reason(f"{part}.{encode(payload())}.{'A' * 86}") == "malformed"


@given(st.text(max_size=200))
def test_any_text_is_refused_and_nothing_else_is_raised(text: str) -> None:
    with pytest.raises(InvalidToken):
        verify(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["iss", "aud", "sub", "iat", "exp", "jti", "uid", "gen"]), JSON, min_size=1))
def test_any_signed_claims_verify_or_are_refused_and_nothing_else_is_raised(changes: dict[str, object]) -> None:
    try:
        claims = verify(signed(encode(payload(**changes))))
    except InvalidToken:
        return
    assert (claims.audience, type(claims.identity.generation), type(claims.expires_at)) == ("oci.akua.dev", int, int)


@given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "jwk", "b64"]), JSON, min_size=1))
def test_any_signed_header_verifies_or_is_refused(changes: dict[str, object]) -> None:
    header: dict[str, Any] = {"alg": "EdDSA", "typ": INSTALL_TOKEN.type, "kid": KEY.key_id, **changes}
    with pytest.raises(InvalidToken):
        verify(signed(encode(payload()), header))

"""Ed25519 keys for tokens: the private one that signs, and the set of public ones that verify (RFC 8032, RFC 8037)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from registry_access.model.errors import InvalidInput

ALGORITHM = "EdDSA"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and its id, the RFC 7638 thumbprint of its public half."""

    key_id: str
    private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> SigningKey:
        return cls.from_private(Ed25519PrivateKey.generate())

    @classmethod
    def from_private(cls, private: Ed25519PrivateKey) -> SigningKey:
        return cls(thumbprint(private.public_key()), private)

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """A key from PKCS#8 PEM. Raises InvalidInput; the message never quotes the key."""
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise InvalidInput("not an Ed25519 private key in PKCS#8 PEM", field="signing key")
        return cls.from_private(private)

    def to_pem(self) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public(self) -> Ed25519PublicKey:
        return self.private.public_key()


@dataclass(frozen=True, slots=True)
class VerificationKeys:
    """The public keys that are accepted, by key id. A key id that is not here is refused; nothing is ever fetched."""

    by_id: Mapping[str, Ed25519PublicKey]

    @classmethod
    def of(cls, keys: Iterable[SigningKey]) -> VerificationKeys:
        return cls({key.key_id: key.public for key in keys})

    @classmethod
    def from_jwks(cls, text: bytes | str) -> VerificationKeys:
        """Keys from a JWK set (RFC 7517); entries that are not Ed25519 are left out. Raises InvalidInput."""
        try:
            entries = json.loads(text)["keys"]
            keys = [
                Ed25519PublicKey.from_public_bytes(_unpadded(entry["x"]))
                for entry in entries
                if entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519"
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput("not a JWK set of Ed25519 public keys", field="jwks.json") from error
        return cls({thumbprint(key): key for key in keys})

    def to_jwks(self) -> str:
        keys = [{**_jwk(key), "kid": key_id, "use": "sig", "alg": ALGORITHM} for key_id, key in sorted(self.by_id.items())]
        return json.dumps({"keys": keys}, sort_keys=True)


def thumbprint(key: Ed25519PublicKey) -> str:
    """RFC 7638 thumbprint, base64url of SHA-256 over the canonical JWK: 43 characters."""
    canonical = json.dumps(_jwk(key), sort_keys=True, separators=(",", ":"))
    return _base64url(hashlib.sha256(canonical.encode()).digest())


def _jwk(key: Ed25519PublicKey) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

"""Signing keys, kept as Secrets of the system namespace, followed through the watch.

`akua-install-token-keys` (the install sync's alone) holds private keys by id and when each begins to sign;
`akua-install-token-jwks` holds their public halves, which is all the proxy ever sees of them.
`akua-access-token-keys` is the proxy's own.

Rotation overlaps: a new key is published first, signs from `AHEAD_SECONDS` later, and an old one verifies until every token
that it signed has expired. So no token is refused because two processes learn of a key at different times.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from registry_access.model.errors import AlreadyExists, InvalidInput, NotFound, StateError
from registry_access.model.resources import Key, Kind, Secret
from registry_access.model.resources.metadata import SYSTEM_NAMESPACE
from registry_access.model.signed_token import LEEWAY_SECONDS
from registry_access.model.signing_key import SigningKey, VerificationKeys
from registry_access.state.index import ResourceIndex
from registry_access.state.interface import StateStore

logger = logging.getLogger(__name__)
INSTALL_TOKEN_KEYS = "akua-install-token-keys"  # noqa: S105 - the Secret's name
INSTALL_TOKEN_JWKS = "akua-install-token-jwks"  # noqa: S105
ACCESS_TOKEN_KEYS = "akua-access-token-keys"  # noqa: S105
SIGNING_KEYS_TYPE = "registry.akua.dev/signing-keys"
ROTATE_ANNOTATION = "registry.akua.dev/rotate-requested"
AHEAD_SECONDS = 120
_TIMES = "times.json"
_JWKS = "jwks.json"


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Keys with the epoch second from which each may sign."""

    keys: Mapping[str, SigningKey]
    signs_from: Mapping[str, int]

    def active(self, now: float) -> SigningKey:
        """The newest key that may sign at `now`; the oldest of all when none may yet."""
        ready = [key_id for key_id in self.keys if self.signs_from[key_id] <= now]
        chosen = max(ready, key=self._age) if ready else min(self.keys, key=self._age)
        return self.keys[chosen]

    def verification(self) -> VerificationKeys:
        return VerificationKeys.of(self.keys.values())

    def rotated(self, now: float, lifetime: float, *, ahead: float = AHEAD_SECONDS) -> SigningKeys:
        """With a new key, and without those whose last token, valid for `lifetime` seconds, has expired everywhere."""
        fresh = SigningKey.generate()
        keys = {**self.keys, fresh.key_id: fresh}
        times = {**self.signs_from, fresh.key_id: int(now + ahead)}
        ordered = sorted(keys, key=lambda key_id: times[key_id])
        # A key has signed until its successor began to.
        kept = [old for old, successor in pairwise(ordered) if times[successor] + lifetime + LEEWAY_SECONDS > now]
        kept.append(ordered[-1])
        return SigningKeys({key_id: keys[key_id] for key_id in kept}, {key_id: times[key_id] for key_id in kept})

    def _age(self, key_id: str) -> tuple[int, str]:
        return self.signs_from[key_id], key_id

    @classmethod
    def first(cls) -> SigningKeys:
        key = SigningKey.generate()
        return cls({key.key_id: key}, {key.key_id: 0})

    @classmethod
    def from_secret(cls, secret: Secret) -> SigningKeys:
        """Raises InvalidInput, which quotes nothing of the Secret."""
        try:
            times = {str(key_id): int(moment) for key_id, moment in json.loads(secret.data[_TIMES]).items()}
            keys = {key_id: SigningKey.from_pem(secret.data[f"{key_id}.pem"]) for key_id in times}
        except (KeyError, ValueError, AttributeError) as error:
            raise InvalidInput("does not hold signing keys", field=f"Secret {secret.metadata.name}") from error
        if not keys:
            raise InvalidInput("holds no signing key", field=f"Secret {secret.metadata.name}")
        return cls(keys, times)

    def to_manifest(self, name: str) -> dict[str, object]:
        data = {f"{key_id}.pem": key.to_pem() for key_id, key in self.keys.items()}
        data[_TIMES] = json.dumps(dict(self.signs_from), sort_keys=True).encode()
        return _manifest(name, data)


class KeyRing:
    """The signing keys in one Secret, as the index has them now; the last good ones while the Secret is spoilt or gone."""

    def __init__(self, index: ResourceIndex, name: str, clock: Callable[[], float]) -> None:
        self._index = index
        self._name = name
        self._clock = clock
        self._seen: Secret | None = None
        self._keys: SigningKeys | None = None

    def keys(self) -> SigningKeys:
        """Raises InvalidInput when the Secret is absent or unusable and none was ever read."""
        secret = self._index.secret(SYSTEM_NAMESPACE, self._name)
        if secret is not None and secret is not self._seen:
            self._seen = secret
            try:
                self._keys = SigningKeys.from_secret(secret)
            except InvalidInput as error:
                if self._keys is None:
                    self._seen = None
                    raise
                logger.error("using the last good signing keys: %s", error)
        if self._keys is None:
            raise InvalidInput("does not exist yet", field=f"Secret {SYSTEM_NAMESPACE}/{self._name}")
        return self._keys

    def active(self) -> SigningKey:
        return self.keys().active(self._clock())


class PublishedKeys:
    """The public keys of install tokens, as the index has them now. No key at all verifies nothing.

    A Secret that was spoilt or deleted by hand changes nothing: the last good keys stay until good ones come.
    """

    def __init__(self, index: ResourceIndex) -> None:
        self._index = index
        self._seen: Secret | None = None
        self._keys = VerificationKeys({})

    def keys(self) -> VerificationKeys:
        secret = self._index.secret(SYSTEM_NAMESPACE, INSTALL_TOKEN_JWKS)
        if secret is not None and secret is not self._seen:
            self._seen = secret
            try:
                self._keys = VerificationKeys.from_jwks(secret.data.get(_JWKS, b""))
            except InvalidInput as error:
                logger.error("using the last %d good public keys: %s", len(self._keys.by_id), error)
        return self._keys


async def ensure_keys(store: StateStore, name: str) -> SigningKeys:
    """The keys of the Secret `name`, made when there are none; of several that try at once, one wins and all get its keys."""
    key = Key(Kind.SECRET, SYSTEM_NAMESPACE, name)
    try:
        found = await store.read(key)
    except NotFound:
        try:
            found = await store.create(SigningKeys.first().to_manifest(name))
        except AlreadyExists:
            found = await store.read(key)
    if not isinstance(found, Secret):
        raise StateError(f"{key} is not a Secret")
    return SigningKeys.from_secret(found)


async def publish(store: StateStore, keys: SigningKeys, manager: str) -> None:
    """Makes the public halves known to the proxy; writes nothing when they are."""
    jwks = keys.verification().to_jwks().encode()
    try:
        found = await store.read(Key(Kind.SECRET, SYSTEM_NAMESPACE, INSTALL_TOKEN_JWKS))
    except NotFound:
        found = None
    if not isinstance(found, Secret) or found.data.get(_JWKS) != jwks:
        await store.apply(_manifest(INSTALL_TOKEN_JWKS, {_JWKS: jwks}), manager=manager)


async def rotate_keys(
    store: StateStore, name: str, now: float, lifetime: float, *, publish_as: str | None = None, if_older: float = 0.0
) -> SigningKeys:
    """Adds a key to the Secret `name` and retires what no live token can have been signed with. Raises Conflict.

    `publish_as` (a field manager) publishes the new key first, so that no crash leaves a key that signs and that nobody knows.
    With `if_older`, nothing happens while the newest key has signed for less than so many seconds and nobody asks for a
    rotation by the annotation `registry.akua.dev/rotate-requested` on the Secret.
    """
    key = Key(Kind.SECRET, SYSTEM_NAMESPACE, name)
    found = await store.read(key)
    if not isinstance(found, Secret):
        raise StateError(f"{key} is not a Secret")
    keys = SigningKeys.from_secret(found)
    if _age(keys, found, now) < if_older and ROTATE_ANNOTATION not in found.metadata.annotations:
        return keys
    rotated = keys.rotated(now, lifetime)
    if publish_as is not None:
        await publish(store, rotated, publish_as)
    data = rotated.to_manifest(name)["data"]
    gone = {entry: None for entry in found.data if isinstance(data, dict) and entry not in data}
    patch = {
        "metadata": {"annotations": {ROTATE_ANNOTATION: None}},
        "data": {**(data if isinstance(data, dict) else {}), **gone},
    }
    await store.patch(key, patch, resource_version=found.metadata.resource_version)
    return rotated


def _age(keys: SigningKeys, secret: Secret, now: float) -> float:
    """Seconds since the newest key began to sign. The first one did when its Secret was made."""
    made = secret.metadata.creation_time
    newest = max(keys.signs_from.values())
    return now - (newest or (made.timestamp() if made else now))


def _manifest(name: str, data: Mapping[str, bytes]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE},
        "type": SIGNING_KEYS_TYPE,
        "data": {entry: base64.b64encode(value).decode() for entry, value in sorted(data.items())},
    }

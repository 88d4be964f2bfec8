"""Blobs that an upstream marks as compressed, although identity was asked for.

Storage marks layers that are gzip by themselves: these are streamed as they come. Web servers and CDNs compress what looks like
text, above all the configurations of images, which are JSON: these are read to their end and decoded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from proxy.pull.large_documents import LARGE, Turn
from proxy.pull.streaming import CorruptBody
from proxy.upstream.network.content_coding import begins_as_document, decoded
from registry_access.model.names.digest import Digest

MANIFEST_MAXIMUM = 4 * 1024 * 1024  # distribution-spec, "Pushing Manifests": what registries are to accept at least
BUFFERED_MAXIMUM = 64 * 1024


async def beginning(body: AsyncIterator[bytes], coding: str, turn: Turn) -> tuple[bytes, bool]:
    """The first bytes of a blob that is marked as `coding`, and whether these are all of it.

    That is all of a small blob and of a JSON document up to MANIFEST_MAXIMUM bytes; of anything else about BUFFERED_MAXIMUM.
    """
    held, limit = bytearray(), BUFFERED_MAXIMUM
    async for piece in body:
        held += piece
        if len(held) > limit:
            if limit == MANIFEST_MAXIMUM or not begins_as_document(bytes(held[:BUFFERED_MAXIMUM]), coding):
                return bytes(held), False
            limit = MANIFEST_MAXIMUM
        if len(held) > LARGE and limit == MANIFEST_MAXIMUM:
            await turn.take()
    return bytes(held), True


async def chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`first`, then what `rest` still has."""
    yield first
    async for piece in rest:
        yield piece


def decoded_blob(digest: Digest, body: bytes, coding: str) -> bytes:
    """The blob's bytes: those that came, or what they are when decoded. Raises CorruptBody when neither has the digest."""
    if _has(digest, body):
        return body  # storage often says gzip of a layer that is gzip by itself
    if coding and _has(digest, plain := decoded(body, coding, MANIFEST_MAXIMUM)):
        return plain
    raise CorruptBody(f"the upstream's bytes do not have the digest {digest}")


def _has(digest: Digest, body: bytes) -> bool:
    hasher = digest.hasher()
    hasher.update(body)
    return digest.matches(hasher)

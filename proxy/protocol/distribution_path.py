"""Paths of the registry protocol, parsed from the raw bytes of the request line by a strict grammar.

distribution-spec, "Endpoints". Nothing is decoded: names, tags and digests need no percent-encoding, so a ``%`` is refused, and
with it every path that two parsers decode differently (``%2F``, ``%2e%2e``, NUL). The whole path must match, in ASCII.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry_access.model.errors import InvalidRegistryHost
from registry_access.model.names.digest import Digest, is_digest, parse_digest
from registry_access.model.names.image_reference import REPOSITORY_MAXIMUM, is_repository, is_tag
from registry_access.model.names.proxied_reference import split_proxied_name

# Far above the longest legal path (255 for the name, 135 for a digest); anything longer is not worth a regular expression.
_PATH_MAXIMUM = 1024
_ROUTE = re.compile(r"/v2/(?P<name>[^%]+?)/(?P<kind>manifests|blobs|tags|referrers)/(?P<reference>[^/%]+)", re.ASCII)
_UPLOAD = re.compile(r"/v2/(?P<name>[^%]+?)/blobs/uploads(?:/[^%]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ping:
    """``/v2/``: is this a registry, and am I known?"""


@dataclass(frozen=True, slots=True)
class CatalogPath:
    """``/v2/_catalog``: stays closed."""


@dataclass(frozen=True, slots=True)
class UploadPath:
    """``/v2/<name>/blobs/uploads/...``: writing, which a pull proxy does not do."""


@dataclass(frozen=True, slots=True)
class ManifestPath:
    """``/v2/<name>/manifests/<reference>``; `reference` is a tag or a digest. `client_name` is the name in the client's path."""

    registry: str
    repository: str
    reference: str
    client_name: str

    @property
    def digest(self) -> Digest | None:
        return parse_digest(self.reference) if is_digest(self.reference) else None


@dataclass(frozen=True, slots=True)
class BlobPath:
    """``/v2/<name>/blobs/<digest>``."""

    registry: str
    repository: str
    digest: Digest
    client_name: str


@dataclass(frozen=True, slots=True)
class TagsPath:
    """``/v2/<name>/tags/list``."""

    registry: str
    repository: str
    client_name: str


@dataclass(frozen=True, slots=True)
class ReferrersPath:
    """``/v2/<name>/referrers/<digest>``."""

    registry: str
    repository: str
    digest: Digest
    client_name: str


@dataclass(frozen=True, slots=True)
class InvalidPath:
    """Not a path of the protocol, or one that cannot name anything. `code` is the OCI error code to answer with."""

    code: str
    detail: str
    status: int = 400


RepositoryPath = ManifestPath | BlobPath | TagsPath | ReferrersPath
DistributionPath = Ping | CatalogPath | UploadPath | RepositoryPath | InvalidPath


def parse_distribution_path(raw_path: bytes) -> DistributionPath:
    """What `raw_path` (the request target up to ``?``, undecoded) asks for. Total: every input has an answer."""
    if raw_path in (b"/v2/", b"/v2"):
        return Ping()
    if len(raw_path) > _PATH_MAXIMUM or not raw_path.isascii():
        return InvalidPath("NAME_INVALID", "the path is too long or has bytes outside ASCII")
    path = raw_path.decode("ascii")
    if path == "/v2/_catalog":
        return CatalogPath()
    route = _ROUTE.fullmatch(path)
    # Words of the protocol are legal in names: /v2/x/blobs/uploads/tags/list lists the tags of x/blobs/uploads.
    if route is None or route["reference"] == "uploads":
        upload = _UPLOAD.fullmatch(path)
        if upload is not None and is_repository(upload["name"]):
            return UploadPath()
    if "%" in path:
        return InvalidPath("NAME_INVALID", "nothing in a path of the registry protocol may be percent-encoded")
    if route is None:
        return InvalidPath("UNSUPPORTED", "not a path of the registry protocol", 404)
    return _repository_path(route["name"], route["kind"], route["reference"])


def _repository_path(name: str, kind: str, reference: str) -> RepositoryPath | InvalidPath:
    if not is_repository(name):
        return InvalidPath("NAME_INVALID", f"the name is not lower-case components joined by /, at most {REPOSITORY_MAXIMUM}")
    try:
        upstream = split_proxied_name(name)
    except InvalidRegistryHost as error:
        return InvalidPath("NAME_INVALID", error.problem)
    if upstream is None:
        return InvalidPath("NAME_INVALID", "the name has no repository behind the upstream registry: {registry}/{repository}")
    registry, repository = upstream
    if kind == "tags":
        if reference != "list":
            return InvalidPath("UNSUPPORTED", "tags has only tags/list", 404)
        return TagsPath(registry, repository, name)
    if kind == "manifests":
        # A colon can only belong to a digest; "sha256:short" must not be taken for a tag.
        if ":" in reference and not is_digest(reference):
            return InvalidPath("DIGEST_INVALID", "not a digest of a registered algorithm")
        if not (is_digest(reference) or is_tag(reference)):
            return InvalidPath("MANIFEST_INVALID", "neither a tag nor a digest, so there is no such manifest", 404)
        return ManifestPath(registry, repository, reference, name)
    if not is_digest(reference):
        return InvalidPath("DIGEST_INVALID", "not a digest of a registered algorithm")
    digest = parse_digest(reference)
    return BlobPath(registry, repository, digest, name) if kind == "blobs" else ReferrersPath(registry, repository, digest, name)

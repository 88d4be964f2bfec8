"""Trying a credential for real, and saying exactly what is wrong when it does not work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from proxy.upstream.errors import (
    LoginFailed,
    LoginUnavailable,
    RateLimited,
    RealmRefused,
    UpstreamMisbehaved,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.upstream.target import TargetKind, UpstreamTarget
from proxy.upstream.upstreams import UpstreamAccess, Upstreams
from registry_access.model.errors import UpstreamError

# What to grant, in each registry's own words.
_PERMISSIONS: Mapping[str, str] = {
    "ghcr.io": "the scope read:packages (and access to the package, for a fine-grained organisation)",
    "docker.io": "the access token permission Repo Read-only (Repo Public Read-only opens public images alone)",
    "registry.gitlab.com": "the scope read_registry",
    "quay.io": "the robot account's permission Read on the repository",
    "ecr-public.aws.com": "the actions ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken",
    "public.ecr.aws": "the actions ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken",
}
_ECR = "the actions ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer"
_PERMISSIONS_BY_SUFFIX: Mapping[str, str] = {
    **dict.fromkeys((".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".on.aws"), _ECR),
    ".azurecr.io": "the role AcrPull",
    ".pkg.dev": "the role Artifact Registry Reader",
    "gcr.io": "the role Artifact Registry Reader (or Storage Object Viewer)",
}
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)


class VerificationOutcome(StrEnum):
    """Stable codes; they are the reason of the credential's `Verified` condition, in CamelCase there."""

    WORKS = "works"
    HOST_UNREACHABLE = "host-unreachable"
    NOT_A_REGISTRY = "not-a-registry"
    BAD_CREDENTIALS = "bad-user-or-password"
    LACKS_SCOPE = "token-lacks-scope"
    NO_SUCH_REPOSITORY = "no-such-repository"
    RATE_LIMITED = "rate-limited"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verification:
    """`detail` is a sentence for a person, with the way out."""

    outcome: VerificationOutcome
    detail: str

    @property
    def ok(self) -> bool:
        return self.outcome is VerificationOutcome.WORKS


async def verify_credential(
    upstreams: Upstreams, access: UpstreamAccess, registry: str, image: tuple[str, str] | None = None
) -> Verification:
    """Logs in at `registry` and, with `image` (repository, tag or digest), asks for its manifest by HEAD: no quota."""
    try:
        if image is None:
            return _of_login(await upstreams.ping(access, registry), registry)
        target = UpstreamTarget(registry, image[0], TargetKind.MANIFESTS, image[1])
        response = await upstreams.request(access, "HEAD", target, {"Accept": _MANIFESTS})
        response.close()
        if response.status in (401, 405):  # some answer HEAD otherwise than GET
            response = await upstreams.request(access, "GET", target, {"Accept": _MANIFESTS})
            response.close()
        if response.status == 200 and not _is_manifest(response.headers.get("Content-Type", "")):
            detail = f"{registry} answers with a web page where a manifest should be; is it the registry's own host name?"
            return Verification(VerificationOutcome.NOT_A_REGISTRY, detail)
        return _of_manifest(response.status, registry, image, response.headers.get("Retry-After", ""))
    except UpstreamError as error:
        return _of_error(error, registry)


def _is_manifest(content_type: str) -> bool:
    """Whether a manifest may be of this media type: registries are lax about which, and never say HTML."""
    media_type = content_type.partition(";")[0].strip().lower()
    return not media_type or "json" in media_type or "manifest" in media_type or "prettyjws" in media_type


def _of_login(status: int, registry: str) -> Verification:
    if status == 200:
        return Verification(VerificationOutcome.WORKS, f"{registry} accepts the credential")
    if status in (401, 403):
        return Verification(VerificationOutcome.BAD_CREDENTIALS, f"{registry} does not accept the user name and password")
    return Verification(VerificationOutcome.FAILED, f"{registry} answered {status}")


def _of_manifest(status: int, registry: str, image: tuple[str, str], retry_after: str) -> Verification:
    repository, reference = image
    separator = "@" if reference.startswith("sha256:") else ":"
    name = f"{registry}/{repository}{separator}{reference}"
    if status == 200:
        return Verification(VerificationOutcome.WORKS, f"{name} can be pulled")
    if status in (401, 403):
        return Verification(
            VerificationOutcome.LACKS_SCOPE, f"the credential may not pull {name}; it needs {permission(registry)}"
        )
    if status == 404:
        return Verification(
            VerificationOutcome.NO_SUCH_REPOSITORY,
            f"{name} does not exist, or {registry} hides it from this credential, which then needs {permission(registry)}",
        )
    if status == 429:
        return _rate_limited(registry, retry_after)
    return Verification(VerificationOutcome.FAILED, f"{registry} answered {status} for {name}")


def _of_error(error: UpstreamError, registry: str) -> Verification:
    if isinstance(error, RateLimited):
        return _rate_limited(registry, error.retry_after)
    if isinstance(error, RealmRefused | LoginUnavailable):
        return Verification(VerificationOutcome.FAILED, str(error))
    if isinstance(error, LoginFailed):
        if error.status in (400, 401):
            return Verification(
                VerificationOutcome.BAD_CREDENTIALS, f"{error}; check the user name and the password, and whether it has expired"
            )
        if error.status == 403:
            return Verification(VerificationOutcome.LACKS_SCOPE, f"{error}; the credential needs {permission(registry)}")
        return Verification(VerificationOutcome.FAILED, str(error))
    if isinstance(error, UpstreamMisbehaved):
        return Verification(VerificationOutcome.NOT_A_REGISTRY, f"{error}; is {registry} the registry's own host name?")
    if isinstance(error, UpstreamUnreachable | UpstreamTimeout):
        return Verification(VerificationOutcome.HOST_UNREACHABLE, str(error))
    return Verification(VerificationOutcome.FAILED, str(error))


def _rate_limited(registry: str, retry_after: str) -> Verification:
    until = f"; retry after {retry_after}{' s' if retry_after.isdigit() else ''}" if retry_after else ""
    return Verification(VerificationOutcome.RATE_LIMITED, f"{registry} is rate-limiting this credential{until}")


def permission(registry: str) -> str:
    """What to grant at `registry`, in its own words."""
    if known := _PERMISSIONS.get(registry):
        return known
    found = (text for suffix, text in _PERMISSIONS_BY_SUFFIX.items() if registry.endswith(suffix))
    return next(found, "permission to read the repository")

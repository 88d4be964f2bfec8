"""Amazon ECR and ECR Public: GetAuthorizationToken, signed with SigV4, gives a password for the user AWS that lives 12 hours.

Amazon ECR API Reference and Amazon ECR Public API Reference, GetAuthorizationToken. botocore signs, and finds the pod's own
identity (IRSA, EKS Pod Identity, instance role) where the secret holds no keys.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from proxy.upstream.errors import LoginFailed
from proxy.upstream.logins.identity import Identity, UserPassword
from proxy.upstream.network.connection import Connections, Follow
from proxy.upstream.settings import ConnectionPolicy
from proxy.upstream.tokens.token_answer import read_answer

# ECR Public by its usual and its dual-stack name, with the host of its API.
PUBLIC_REGISTRIES: Mapping[str, str] = {
    "public.ecr.aws": "api.ecr-public.us-east-1.amazonaws.com",
    "ecr-public.aws.com": "ecr-public.us-east-1.api.aws",
}
PRIVATE_REGISTRY = re.compile(
    r"[0-9]{12}\.dkr[.-]ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?P<suffix>amazonaws\.com(?:\.cn)?|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn|on\.amazonwebservices\.eu"
    r"|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)",
    re.ASCII,
)
_DUAL_STACK = {
    "on.aws": "api.aws",
    "on.amazonwebservices.com.cn": "api.amazonwebservices.com.cn",
    "on.amazonwebservices.eu": "api.amazonwebservices.eu",
}
_REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+", re.ASCII)
_JSON = "application/x-amz-json-1.1"


class AwsLogin:
    """Uses the keys in the secret, or the proxy's own AWS identity if the secret has none and `own_identity` is true."""

    def __init__(
        self,
        connections: Connections,
        registry: str,
        values: Mapping[str, str],
        access: ConnectionPolicy,
        *,
        own_identity: bool = True,
    ) -> None:
        self._connections = connections
        self._registry = registry
        self._values = values
        self._access = access
        self._own_identity = own_identity

    async def identity(self) -> Identity:
        service, region, host = endpoint(self._registry, self._values.get("region", ""))
        target = "SpencerFrontendService" if service == "ecr-public" else "AmazonEC2ContainerRegistry_V20150921"
        request = signed_request(
            f"https://{host}/", f"{target}.GetAuthorizationToken", service, region, await self._credentials()
        )
        response = await self._connections.request(
            "POST", f"https://{host}/", headers=request, access=self._access, data=b"{}", follow=Follow.WITHIN
        )
        secrets = tuple(filter(None, (self._values.get("secret_access_key"), self._values.get("session_token"))))
        answer = await read_answer(response, f"Amazon ECR in {region}", secrets=secrets)
        return _user_password(answer)

    async def _credentials(self) -> Credentials:
        values = self._values
        if values.get("access_key_id"):
            return Credentials(values["access_key_id"], values["secret_access_key"], values.get("session_token"))
        if self._registry not in PUBLIC_REGISTRIES and not PRIVATE_REGISTRY.fullmatch(self._registry):
            # Otherwise the password would go to any host that a workspace names.
            raise LoginFailed(
                f"{self._registry} is not an Amazon ECR registry, and gets no password of the proxy's own AWS identity; put keys "
                "into the secret"
            )
        if not self._own_identity:
            raise LoginFailed(
                "the secret holds no AWS keys, and AKUA_UPSTREAM_IDENTITY_WORKSPACES does not let this workspace use the proxy's "
                "own AWS identity"
            )
        try:
            found = await asyncio.to_thread(_own_credentials)
        except BotoCoreError as error:
            raise LoginFailed(f"the proxy's own AWS identity cannot be used: {error}") from error
        if found is None:
            raise LoginFailed("the secret holds no AWS keys and the proxy has no AWS identity")
        return found


def endpoint(registry: str, region: str) -> tuple[str, str, str]:
    """Signing service, region and API host for an ECR registry. Raises LoginFailed for another registry without region.

    The region is the registry's name's where that has one. Amazon ECR, "Service endpoints": dual-stack registries
    (dkr-ecr.REGION.on.aws) have a dual-stack API (ecr.REGION.api.aws); FIPS ones a FIPS API.
    """
    if registry in PUBLIC_REGISTRIES:
        return "ecr-public", "us-east-1", PUBLIC_REGISTRIES[registry]
    if match := PRIVATE_REGISTRY.fullmatch(registry):
        region, suffix, fips = match["region"], match["suffix"], match["fips"] or ""
        if suffix in _DUAL_STACK:
            return "ecr", region, f"ecr{fips}.{region}.{_DUAL_STACK[suffix]}"
        return "ecr", region, f"{'ecr-fips' if fips else 'api.ecr'}.{region}.{suffix}"
    if not region:
        raise LoginFailed(f"{registry} is not an Amazon ECR registry, and the secret names no region")
    if not _REGION.fullmatch(region):  # it becomes part of a host's name
        raise LoginFailed("the secret's region is not an AWS region; write one such as eu-west-1")
    return "ecr", region, f"api.ecr.{region}.amazonaws.com"


def signed_request(url: str, target: str, service: str, region: str, credentials: Credentials) -> dict[str, str]:
    """The headers of a signed GetAuthorizationToken (AWS Signature Version 4), its body being ``{}``."""
    headers = {"Content-Type": _JSON, "X-Amz-Target": target}
    request = AWSRequest(method="POST", url=url, data=b"{}", headers=headers)
    SigV4Auth(credentials, service, region).add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}


def _own_credentials() -> Credentials | None:
    found = Session().get_credentials()
    if found is None:
        return None
    frozen = found.get_frozen_credentials()
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def _user_password(answer: dict[str, Any]) -> UserPassword:
    data = answer.get("authorizationData")
    entry: Any = data[0] if isinstance(data, list) and data else data
    try:
        user, _, password = base64.b64decode(entry["authorizationToken"], validate=True).decode().partition(":")
        lifetime = float(entry["expiresAt"]) - time.time()
    except (TypeError, KeyError, ValueError, binascii.Error, json.JSONDecodeError) as error:
        raise LoginFailed("Amazon ECR answered without an authorization token") from error
    return UserPassword(user, password, max(lifetime, 60.0))

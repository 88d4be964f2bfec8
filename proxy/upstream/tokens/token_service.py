"""The registry's own token service: an identity and a scope in, a bearer token out (distribution, "Token Authentication")."""

from __future__ import annotations

from urllib.parse import urlencode

from proxy.upstream.errors import LoginFailed
from proxy.upstream.logins.identity import Anonymous, BearerToken, Identity, UserPassword
from proxy.upstream.network.connection import Connections, Follow
from proxy.upstream.settings import ConnectionPolicy
from proxy.upstream.tokens.challenge import Challenge
from proxy.upstream.tokens.realms import check_realm
from proxy.upstream.tokens.token_answer import access_token, read_answer

ECR_PUBLIC = frozenset({"public.ecr.aws", "ecr-public.aws.com"})
# Azure leaves expires_in out of tokens that live about 75 minutes.
_LIFETIME_OF_SILENT = {"azurecr.io": 3600.0}


async def fetch_token(
    connections: Connections,
    registry: str,
    challenge: Challenge,
    scope: str,
    identity: Identity,
    access: ConnectionPolicy,
    *,
    stated_only: bool = False,
) -> BearerToken:
    """A token for `scope` from the challenge's realm. `stated_only`: see `check_realm`.

    Raises LoginFailed (RealmRefused and LoginUnavailable among it), RateLimited, and what a connection raises.
    """
    realm = check_realm(
        challenge.parameters.get("realm", ""),
        registry,
        stated=access.realm_hosts,
        insecure=access.insecure,
        stated_only=stated_only,
    )
    query = [("service", challenge.parameters["service"])] if "service" in challenge.parameters else []
    # public.ecr.aws wants the scope `aws`, literally. No scope at all is how one logs in without asking for anything.
    if scope or registry in ECR_PUBLIC:
        query.append(("scope", "aws" if registry in ECR_PUBLIC else scope))
    headers = {"Accept": "application/json"}
    if isinstance(identity, UserPassword):
        headers["Authorization"] = identity.header
    elif not isinstance(identity, Anonymous):
        raise LoginFailed(f"{registry} wants a user name and password for its token service")
    url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query, errors='surrogateescape')}" if query else realm
    response = await connections.request("GET", url, headers=headers, access=access, follow=Follow.WITHIN)
    whom = f"the token service of {registry}"
    default = _LIFETIME_OF_SILENT.get(".".join(registry.split(".")[-2:]), 60.0)
    return BearerToken(*access_token(await read_answer(response, whom, secrets=identity.secrets), whom, default_lifetime=default))

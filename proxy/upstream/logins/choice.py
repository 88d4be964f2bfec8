"""Chooses the login for a credential by its type and, if several fit, by the registry's host."""

from __future__ import annotations

from proxy.upstream.errors import LoginFailed
from proxy.upstream.logins.azure import AzureLogin
from proxy.upstream.logins.identity import Login
from proxy.upstream.logins.oauth import OAuthLogin
from proxy.upstream.logins.static import AnonymousLogin, BasicLogin, BearerLogin, TokenLogin
from proxy.upstream.network.connection import Connections
from proxy.upstream.settings import ConnectionPolicy
from registry_access.model.resources import CredentialType, RegistryCredential
from registry_access.model.workspace_secret import ResolvedSecret

LOGIN_KINDS = ("anonymous", "basic", "token", "bearer", "oauth", "azure", "aws")


def login_kind(credential: RegistryCredential) -> str:
    """The kind that `spec.login` states, else the one that fits type and registry."""
    if credential.login:
        return credential.login
    if credential.type is CredentialType.OAUTH:
        return "azure" if credential.registry.endswith(".azurecr.io") else "oauth"
    return str(credential.type).lower()


def choose_login(
    credential: RegistryCredential | None,
    secret: ResolvedSecret | None,
    connections: Connections,
    access: ConnectionPolicy,
    *,
    own_identity: bool = True,
) -> Login:
    """The login for `credential` with the current value of its secret. `own_identity`: whether it may be the proxy's own where
    the secret holds no keys. Raises LoginFailed when they do not fit.
    """
    if credential is None or secret is None or credential.type is CredentialType.ANONYMOUS:
        return AnonymousLogin()
    kind, values = login_kind(credential), secret.values
    try:
        match kind:
            case "anonymous":
                return AnonymousLogin()
            case "basic":
                return BasicLogin(values)
            case "token":
                return TokenLogin(credential.registry, values)
            case "bearer":
                return BearerLogin(values)
            case "oauth":
                return OAuthLogin(connections, values, access)
            case "azure":
                return AzureLogin(connections, credential.registry, values, access)
            case "aws":
                from proxy.upstream.logins.aws import AwsLogin  # botocore: 8 MB that a proxy without Amazon does not need

                return AwsLogin(connections, credential.registry, values, access, own_identity=own_identity)
    except KeyError as error:
        raise LoginFailed(f"the secret of credential {credential.metadata.name} lacks {error.args[0]}") from None
    raise LoginFailed(
        f"credential {credential.metadata.name} names an unknown login {kind!r}; use one of {', '.join(LOGIN_KINDS)}"
    )

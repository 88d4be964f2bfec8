"""What each registry needs for a login, and so what `akua credential add` asks for."""

from __future__ import annotations

from dataclasses import dataclass

from registry_access.model.resources import CredentialType


@dataclass(frozen=True, slots=True)
class Field:
    """One value to ask for: `name` is its name in the Secret, `label` is the registry's term for it."""

    name: str
    label: str
    secret: bool = False
    required: bool = True
    value: str = ""  # a fixed value; the user is not asked for it


@dataclass(frozen=True, slots=True)
class Preset:
    """An empty `registry` is asked for; `example` shows its form. `hint` names the account to use and the rights that it needs.

    `login` is the login kind, if type and host do not determine it.
    """

    name: str
    title: str
    type: CredentialType
    fields: tuple[Field, ...]
    registry: str = ""
    example: str = ""
    hint: str = ""
    login: str = ""


def _user(label: str = "User name", value: str = "") -> Field:
    return Field("username", label, value=value)


def _password(label: str = "Password") -> Field:
    return Field("password", label, secret=True)


_BASIC, _AWS = CredentialType.BASIC, CredentialType.AWS
_AWS_FIELDS = (
    Field("access_key_id", "Access key id"),
    Field("secret_access_key", "Secret access key", secret=True),
    Field("region", "Region", required=False),
)

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "dockerhub",
            "Docker Hub",
            _BASIC,
            (_user("Docker Hub user or organization"), _password("Access token")),
            registry="docker.io",
            hint="a personal or organization access token with read access",
        ),
        Preset(
            "ghcr",
            "GitHub Container Registry",
            _BASIC,
            (_user("GitHub user name"), _password("Personal access token")),
            registry="ghcr.io",
            hint="a classic token with the scope read:packages",
        ),
        Preset(
            "ecr",
            "Amazon ECR",
            _AWS,
            _AWS_FIELDS,
            example="123456789012.dkr.ecr.eu-central-1.amazonaws.com",
            hint="a user or role with ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer",
        ),
        Preset(
            "ecr-pod",
            "Amazon ECR with the proxy's own AWS identity",
            _AWS,
            (),
            example="123456789012.dkr.ecr.eu-central-1.amazonaws.com",
            hint="the role of the proxy's pod (IRSA or Pod Identity) needs the same rights as for the preset ecr",
        ),
        Preset(
            "ecr-public",
            "Amazon ECR Public",
            CredentialType.ANONYMOUS,
            (),
            registry="public.ecr.aws",
            hint="public; no login needed",
        ),
        Preset(
            "gar",
            "Google Artifact Registry",
            _BASIC,
            (_user(value="_json_key"), _password("Service account key (JSON)")),
            example="europe-west1-docker.pkg.dev",
            hint="a service account with the role Artifact Registry Reader; pass its key file on standard input",
        ),
        Preset(
            "gcr",
            "Google Container Registry",
            _BASIC,
            (_user(value="_json_key"), _password("Service account key (JSON)")),
            registry="gcr.io",
            hint="a service account with read access; pass its key file on standard input",
        ),
        Preset(
            "acr",
            "Azure Container Registry",
            _BASIC,
            (_user("Application (client) id, token name or admin user"), _password()),
            example="acme.azurecr.io",
            hint="a service principal with the role AcrPull, a repository-scoped token, or the admin user",
        ),
        Preset(
            "gitlab",
            "GitLab",
            _BASIC,
            (_user("User name, or the deploy token's"), _password("Access or deploy token")),
            registry="registry.gitlab.com",
            hint="a token with the scope read_registry",
        ),
        Preset(
            "quay",
            "Quay",
            _BASIC,
            (_user("Robot account, organization+robot"), _password("Robot token")),
            registry="quay.io",
            hint="a robot account with read permission",
        ),
        Preset(
            "basic",
            "Harbor, Nexus, Artifactory, distribution and others",
            _BASIC,
            (_user(), _password()),
            example="registry.example.com:5000",
            hint="a user or robot account with pull permission",
        ),
        Preset(
            "token",
            "any registry that accepts a token as the password",
            CredentialType.TOKEN,
            (Field("token", "Token", secret=True), Field("username", "User name", required=False)),
            example="registry.example.com",
        ),
        Preset(
            "bearer",
            "any registry that accepts a static Bearer token",
            CredentialType.TOKEN,
            (Field("token", "Token", secret=True),),
            example="registry.example.com",
            login="bearer",
        ),
        Preset(
            "oauth",
            "any registry with OAuth client credentials",
            CredentialType.OAUTH,
            (
                Field("client_id", "Client id"),
                Field("client_secret", "Client secret", secret=True),
                Field("token_url", "Token URL"),
                Field("scopes", "Scopes, separated by spaces", required=False),
            ),
            example="registry.example.com",
        ),
        Preset("anonymous", "any public registry", CredentialType.ANONYMOUS, (), example="registry.example.com"),
    )
}
# What to ask for when renewing the secret of a credential of each type.
FIELDS_OF_TYPE = {
    CredentialType.BASIC: PRESETS["basic"].fields,
    CredentialType.TOKEN: PRESETS["token"].fields,
    CredentialType.OAUTH: PRESETS["oauth"].fields,
    CredentialType.AWS: PRESETS["ecr"].fields,
    CredentialType.ANONYMOUS: (),
}

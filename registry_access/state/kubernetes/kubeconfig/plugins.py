"""Kubeconfig users that log in by a command (`exec`) or an `auth-provider`, as kubernetes_asyncio runs and renews them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from pathlib import Path

from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import load_kube_config
from kubernetes_asyncio.config.config_exception import ConfigException

from registry_access.model.errors import StateUnavailable
from registry_access.state.kubernetes.client.access import ClusterAccess


async def plugin_access(files: Sequence[Path]) -> ClusterAccess:
    """See `kubeconfig_access`. Raises StateUnavailable."""
    configuration = Configuration()
    try:
        await load_kube_config(
            config_file=os.pathsep.join(map(str, files)),
            client_configuration=configuration,
            persist_config=False,
        )
        tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            tls.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    except (ConfigException, OSError, ssl.SSLError, TypeError, ValueError) as error:
        raise StateUnavailable(f"the kubeconfig {', '.join(map(str, files))} cannot be used: {error}") from error
    if not configuration.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE

    async def token() -> str:
        value = await configuration.get_api_key_with_prefix("BearerToken")
        return str(value or "").removeprefix("Bearer ")

    return ClusterAccess(str(configuration.host), tls, token, configuration.tls_server_name, configuration.proxy)

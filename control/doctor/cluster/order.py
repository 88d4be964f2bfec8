"""The checks, from the outside in: what nodes and the API server meet first, then the processes, then the users' objects."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from control.doctor.cluster.admission.registration import registration_checks
from control.doctor.cluster.admission.slipped import slipped_check
from control.doctor.cluster.admission.trial_pod import trial_check
from control.doctor.cluster.admission.webhook_order import webhook_order_check
from control.doctor.cluster.certificates import certificate_checks
from control.doctor.cluster.clock import clock_check
from control.doctor.cluster.deployments import part_checks
from control.doctor.cluster.freshness import freshness_checks, leader_check
from control.doctor.cluster.installation import Installation, read_installation
from control.doctor.cluster.processes import process_checks
from control.doctor.cluster.reach.nodes import name_checks
from control.doctor.cluster.reach.route import route_checks
from control.doctor.cluster.rights import account_checks, own_checks, workspace_checks
from control.doctor.cluster.state import State, read_state
from control.doctor.cluster.trail import trail_check
from control.doctor.cluster.view import ClusterView
from control.doctor.cluster.waiting import waiting_check
from control.doctor.finding import Check, bad, good, warning
from control.doctor.machine import host_name, readiness_failures, resolved
from control.doctor.resources import credential_checks, install_checks, label_checks
from registry_access.model.cluster_words import in_cluster_words
from registry_access.model.errors import StateError
from registry_access.settings import Settings
from registry_access.state.cluster_access import cluster_access
from registry_access.state.kubernetes.client.api import KubernetesApi


async def cluster_checks(settings: Settings, environment: Mapping[str, str], workspace: str = "") -> AsyncIterator[Check]:
    """`workspace` limits the checks of credentials and installs to that workspace."""
    inside = "KUBERNETES_SERVICE_HOST" in environment
    try:
        access = await cluster_access(environment)
    except StateError as error:
        yield bad("cluster", str(error))
        return
    api = KubernetesApi(access)
    try:
        version = await api.request("GET", "/version")
        yield good("cluster", f"Kubernetes {version.get('gitVersion', '?')} at {access.server}")
        view = ClusterView(api)
        installation = await read_installation(view, settings, inside=inside)
        if installation.host != settings.host:
            problem = f"AKUA_HOST is {settings.host} here but {installation.host} at the proxy"
            yield warning("settings", f"{problem}, so tokens and rewrites made here would not match; set both to the same value")
        state = await read_state(api, workspace)
        async for check in _outside(view, settings, installation, state):
            yield check
        async for check in _inside(view, settings, installation, state, workspace):
            yield check
    except StateError as error:
        # Each check reports what it may not see as a finding; this error means that the API server does not answer.
        yield bad("cluster", str(error))
    finally:
        await api.close()


async def _outside(view: ClusterView, settings: Settings, installation: Installation, state: State) -> AsyncIterator[Check]:
    addresses = await resolved(host_name(installation.host))
    for check in (
        *name_checks(installation, addresses),
        *await route_checks(installation, addresses),
        *part_checks(installation),
        *await process_checks(view, installation),
        *registration_checks(installation),
        await webhook_order_check(view),
        await trial_check(view, installation.host, state),
        await slipped_check(view, state),
        await waiting_check(view, installation, state),
        *await certificate_checks(view, installation, datetime.now(UTC)),
        clock_check(installation.offset, inside=installation.inside),
    ):
        yield check
    if installation.inside:
        failures = await readiness_failures(settings)
        if failures is None:
            yield warning("server", f"no akua process answers at {settings.operations_address} in this pod")
        else:
            for name, problem in failures.items():
                yield bad(f"server: {name}", problem)
            if not failures:
                yield good("server", "this pod is ready")


async def _inside(
    view: ClusterView, settings: Settings, installation: Installation, state: State, workspace: str
) -> AsyncIterator[Check]:
    now, workspaces = time.time() + (installation.offset or 0.0), state.workspaces(workspace)
    for check in (
        *await account_checks(view),
        *([] if installation.inside else await own_checks(view, workspaces)),
        *await workspace_checks(view, workspaces),
        *await freshness_checks(view, installation, settings.staleness_limit, now),
        leader_check(installation, now),
        await trail_check(settings, installation),
        *state.checks,
        *label_checks(state.index),
    ):
        yield check
    for check in (
        *credential_checks(state.index, unseen_secrets=state.unseen_secrets),
        *install_checks(state.index, credentials_seen=state.credentials_seen, unseen_secrets=state.unseen_secrets),
    ):
        yield replace(check, detail=in_cluster_words(check.detail, check.workspace))

"""The proxy's RoleBinding: in workspaces, put right when it is changed, gone with the label; others' are left alone."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from registry_access.model.errors import Conflict, InvalidManifest, StateUnavailable
from registry_access.model.resources import Namespace
from registry_access.state.index import ResourceIndex
from registry_access.state.kubernetes.client.raw_objects import RawKind, RawObject, RawObjects
from tests.support import builders
from tests.support.state_conformance import until
from webhook.workspace_access import WorkspaceAccess


class Bindings(RawObjects):
    """An API server's RoleBindings called akua-proxy, by namespace."""

    def __init__(self) -> None:
        self.present: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, Exception] = {}
        self.applied: list[str] = []

    async def everywhere(self, kind: RawKind, name: str) -> Sequence[RawObject]:
        assert (kind.kind, name) == ("RoleBinding", "akua-proxy")
        return copy.deepcopy(list(self.present.values()))

    async def apply(self, kind: RawKind, manifest: RawObject, *, manager: str) -> RawObject:
        namespace = manifest["metadata"]["namespace"]
        if namespace in self.refused:
            raise self.refused[namespace]
        before = self.present.get(namespace, {})
        assert before.get("roleRef", manifest["roleRef"]) == manifest["roleRef"], "it is immutable"
        self.present[namespace] = {
            **copy.deepcopy(dict(manifest)),
            "metadata": {**manifest["metadata"], "uid": f"uid-{namespace}"},
        }
        self.applied.append(namespace)
        return manifest

    async def delete(self, kind: RawKind, namespace: str, name: str, *, uid: str) -> None:
        assert self.present[namespace]["metadata"]["uid"] == uid
        del self.present[namespace]


def namespace(name: str, *, workspace: bool = True) -> Namespace:
    return builders.namespace(name, workspace=workspace)


@pytest.fixture
def index() -> ResourceIndex:
    index = ResourceIndex()
    for each in (namespace("acme"), namespace("globex"), namespace("default", workspace=False)):
        index.put(each)
    return index


@contextlib.asynccontextmanager
async def running(access: WorkspaceAccess) -> AsyncIterator[None]:
    task = asyncio.create_task(access.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_workspaces_have_it_and_other_namespaces_do_not(index: ResourceIndex) -> None:
    bindings = Bindings()
    access = WorkspaceAccess(index, bindings)
    assert await access.look() == frozenset()
    assert set(bindings.present) == {"acme", "globex"}
    binding = bindings.present["acme"]
    assert binding["roleRef"]["name"] == "akua-workspace-secrets"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "akua-proxy", "namespace": "akua-system"}]
    await access.look()
    assert len(bindings.applied) == 2


async def test_our_own_namespace_never_has_it(index: ResourceIndex) -> None:
    index.put(namespace("akua-system"))
    bindings = Bindings()
    await WorkspaceAccess(index, bindings).look()
    assert "akua-system" not in bindings.present


async def test_what_was_changed_is_put_right(index: ResourceIndex) -> None:
    bindings = Bindings()
    access = WorkspaceAccess(index, bindings)
    await access.look()
    good = copy.deepcopy(bindings.present)
    bindings.present["acme"]["subjects"].append({"kind": "User", "name": "mallory"})
    bindings.present["globex"]["roleRef"] = {"kind": "ClusterRole", "name": "cluster-admin"}
    await access.look()
    assert bindings.present == good


async def test_somebody_elses_is_left_alone(index: ResourceIndex) -> None:
    bindings = Bindings()
    for name in ("acme", "default"):
        metadata = {"name": "akua-proxy", "namespace": name, "uid": name}
        bindings.present[name] = {"metadata": metadata, "roleRef": {"name": "theirs"}}
    before = copy.deepcopy(bindings.present)
    (problem,) = await WorkspaceAccess(index, bindings).look()
    assert problem.startswith("namespace acme: RoleBinding akua-proxy exists, is not ours")
    assert {name: bindings.present[name] for name in before} == before


async def test_it_comes_and_goes_with_the_label(index: ResourceIndex) -> None:
    bindings = Bindings()
    async with running(WorkspaceAccess(index, bindings)):
        await until(lambda: set(bindings.present) == {"acme", "globex"})
        index.put(namespace("default"))
        index.put(namespace("acme", workspace=False))
        await until(lambda: set(bindings.present) == {"default", "globex"})
        index.remove(namespace("default").key)
        await until(lambda: set(bindings.present) == {"globex"})


async def test_one_that_is_refused_keeps_none_of_the_others_waiting(
    index: ResourceIndex, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.workspace_access._LOOK_SECONDS", 0.01)
    bindings = Bindings()
    bindings.refused = {"acme": StateUnavailable("not allowed"), "globex": Conflict("is being terminated")}
    async with running(WorkspaceAccess(index, bindings)):
        index.put(namespace("initech"))
        await until(lambda: set(bindings.present) == {"initech"})
        await asyncio.sleep(0.1)
        assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
            "the proxy's access to a workspace could not be set up; trying again: namespace acme: not allowed"
        ], "said once"
        bindings.refused = {}
        await until(lambda: set(bindings.present) == {"acme", "globex", "initech"})


async def test_a_new_problem_is_tried_again_soon(index: ResourceIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server may not have seen the label yet on which its policy insists."""
    monkeypatch.setattr("registry_access.runtime.keeping._RETRY_SECONDS", 0.01)
    bindings = Bindings()
    bindings.refused = {"acme": InvalidManifest("the leader lets the proxy into workspaces only")}
    async with running(WorkspaceAccess(index, bindings)):
        await until(lambda: set(bindings.present) == {"globex"})
        bindings.refused = {}
        await until(lambda: set(bindings.present) == {"acme", "globex"}, seconds=5)

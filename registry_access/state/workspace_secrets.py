"""Workspace secrets and their versions, on top of any state store. Values go in and never come out again.

A workspace secret ``ghcr`` is a Secret of that name whose annotation says which version is current. Each version is an immutable
Secret of its own (``ghcr-v3``), so that a rotation is one small edit, rolling back is the same edit, and nothing in a workload
cluster changes by either.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from registry_access.model.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from registry_access.model.resources import CredentialType, Key, Kind, Secret
from registry_access.model.resources.metadata import (
    CURRENT_VERSION_ANNOTATION,
    GROUP,
    REGISTRIES_ANNOTATION,
    SECRET_LABEL,
    VERSION_LABEL,
    VERSION_STATE_ANNOTATION,
)
from registry_access.model.secret_binding import annotation_value, bound_to, strangers
from registry_access.model.workspace_secret import VersionState, problem_of_values, state_of_version, version_secret_name
from registry_access.state.interface import StateStore

COMMENT_ANNOTATION = f"{GROUP}/comment"
VALUES_MAXIMUM = 512 * 1024  # bytes, all values together; a Secret may have 1 MiB
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version, without its values. `number` counts from 1."""

    workspace: str
    secret: str
    number: int
    state: VersionState
    current: bool
    comment: str
    created: datetime | None
    uid: str


class WorkspaceSecrets:
    """Reads go past the index, so that a version just added is seen. Raises what the store raises, and InvalidInput."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def add(
        self,
        workspace: str,
        name: str,
        values: Mapping[str, str | bytes],
        *,
        current: bool = True,
        comment: str = "",
        type: CredentialType | None = None,
        registries: Collection[str] = (),
    ) -> SecretVersion:
        """Adds a version, and the secret with its first. `current=False` stages it: it is used once it is pinned.

        With `type`, InvalidInput when the values could not serve a credential of that type. A plain Secret that is there
        already becomes version 1. `registries` (`secret_binding.destinations`): the hosts that the value is for. A version
        inherits what the one before it was bound to; InvalidInput when that leaves out some of `registries`.
        """
        data = {key: value.encode() if isinstance(value, str) else value for key, value in values.items()}
        _check_values(data, type)
        head = await self._head(workspace, name) or await self._create_head(workspace, name)
        bound = await self._bound(head)
        if bound is not None and (elsewhere := strangers(registries, bound)):
            raise InvalidInput(
                f"is for {', '.join(sorted(bound)) or 'no registry'}, not for {', '.join(elsewhere)}",
                field=f"secret {name}",
                remedy=f"give the credential a secret of its own, or change the annotation {REGISTRIES_ANNOTATION}",
            )
        bound = bound if bound is not None else (registries or None)
        if head.data and CURRENT_VERSION_ANNOTATION not in head.metadata.annotations:
            head = await self._make_versioned(head)
        number = await self._create_version(workspace, name, data, comment, bound)
        if current:
            await self._point_to(head, number)
        return await self.version(workspace, name, number)

    async def versions(self, workspace: str, name: str) -> Sequence[SecretVersion]:
        """All versions, the newest first. Raises NotFound without the secret."""
        head = await self._existing_head(workspace, name)
        holders = [await self._holder(workspace, name, number) for number in await self._numbers(workspace, name)]
        return [_version(head, holder) for holder in reversed(holders) if holder is not None]

    async def version(self, workspace: str, name: str, number: int) -> SecretVersion:
        head = await self._existing_head(workspace, name)
        return _version(head, await self._existing_holder(workspace, name, number))

    async def current(self, workspace: str, name: str) -> SecretVersion | None:
        """The version in use; None for a plain Secret, and when none was pinned yet."""
        stated = (await self._existing_head(workspace, name)).metadata.annotations.get(CURRENT_VERSION_ANNOTATION, "")
        return await self.version(workspace, name, int(stated)) if stated.isdigit() else None

    async def pin(self, workspace: str, name: str, number: int) -> SecretVersion:
        """Makes a version current: going forward to a staged one, or rolling back. Raises Conflict unless it is enabled."""
        head = await self._existing_head(workspace, name)
        holder = await self._existing_holder(workspace, name, number)
        state = state_of_version(holder)
        if state is not VersionState.ENABLED:
            raise Conflict(f"version {number} of secret {name} is {state}; only an enabled version can be current")
        await self._point_to(head, number)
        return await self.version(workspace, name, number)

    async def enable(self, workspace: str, name: str, number: int) -> SecretVersion:
        return await self._set_state(workspace, name, number, VersionState.ENABLED)

    async def disable(self, workspace: str, name: str, number: int) -> SecretVersion:
        """Disabling the current version stops every pull that needs it, at once."""
        return await self._set_state(workspace, name, number, VersionState.DISABLED)

    async def destroy(self, workspace: str, name: str, number: int) -> SecretVersion:
        """Removes a version's values for good; that it was there stays on record. Raises Conflict for the current one."""
        version = await self.version(workspace, name, number)
        if version.current:
            raise Conflict(f"version {number} of secret {name} is current; pin another one before destroying it")
        if version.state is not VersionState.DESTROYED:
            key = _key(workspace, version_secret_name(name, number))
            await self._store.delete(key, uid=version.uid)  # an immutable Secret cannot be emptied
            await self._store.create(_version_manifest(workspace, name, number, {}, version.comment, VersionState.DESTROYED))
        return await self.version(workspace, name, number)

    async def delete(self, workspace: str, name: str) -> None:
        """Removes the secret and all its versions. Raises Conflict while a credential names it."""
        head = await self._existing_head(workspace, name)
        credentials = [item for item in self._store.index.all_credentials() if item.workspace == workspace]
        used = [item.metadata.name for item in credentials if item.secret_name == name]
        if used:
            raise Conflict(f"secret {name} is used by credential {', '.join(sorted(used))}; delete that first")
        numbers = await self._numbers(workspace, name)
        await self._store.delete(head.key, uid=head.metadata.uid)
        for number in numbers:
            await self._store.delete(_key(workspace, version_secret_name(name, number)))

    async def _bound(self, head: Secret) -> Collection[str] | None:
        """What the current version is bound to."""
        stated = head.metadata.annotations.get(CURRENT_VERSION_ANNOTATION, "")
        holder = await self._holder(head.metadata.namespace, head.metadata.name, int(stated)) if stated.isdigit() else None
        return bound_to(holder, head) if holder else bound_to(head)

    async def _head(self, workspace: str, name: str) -> Secret | None:
        return await self._read(_key(workspace, name))

    async def _existing_head(self, workspace: str, name: str) -> Secret:
        head = await self._head(workspace, name)
        if head is None:
            raise NotFound(f"workspace {workspace} has no secret {name}")
        return head

    async def _read(self, key: Key) -> Secret | None:
        try:
            found = await self._store.read(key)
        except NotFound:
            return None
        return found if isinstance(found, Secret) else None

    async def _holder(self, workspace: str, name: str, number: int) -> Secret | None:
        holder = await self._read(_key(workspace, version_secret_name(name, number)))
        return holder if holder is not None and holder.metadata.labels.get(SECRET_LABEL) == name else None

    async def _existing_holder(self, workspace: str, name: str, number: int) -> Secret:
        holder = await self._holder(workspace, name, number)
        if holder is None:
            raise NotFound(f"secret {name} has no version {number}")
        return holder

    async def _numbers(self, workspace: str, name: str) -> list[int]:
        """The versions' numbers, ascending: those in the index, and those written so lately that the index lacks them."""
        numbers = {
            int(secret.metadata.labels[VERSION_LABEL])
            for secret in self._store.index.secrets()
            if secret.metadata.namespace == workspace
            and secret.metadata.labels.get(SECRET_LABEL) == name
            and secret.metadata.labels.get(VERSION_LABEL, "").isdigit()
        }
        following = max(numbers, default=0) + 1
        while await self._holder(workspace, name, following) is not None:
            numbers.add(following)
            following += 1
        return sorted(numbers)

    async def _create_head(self, workspace: str, name: str) -> Secret:
        metadata = {"name": name, "namespace": workspace, "labels": {SECRET_LABEL: name}}
        await self._store.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"})
        return await self._existing_head(workspace, name)

    async def _make_versioned(self, head: Secret) -> Secret:
        workspace, name = head.metadata.namespace, head.metadata.name
        number = await self._create_version(workspace, name, head.data, "the secret as it was before versions", bound_to(head))
        await self._store.patch(head.key, {"metadata": {"labels": {SECRET_LABEL: name}}})
        await self._point_to(await self._existing_head(workspace, name), number)
        if not head.immutable:
            await self._store.patch(head.key, {"data": None, "stringData": None})
        return await self._existing_head(workspace, name)

    async def _create_version(
        self, workspace: str, name: str, data: Mapping[str, bytes], comment: str, bound: Collection[str] | None
    ) -> int:
        number = max(await self._numbers(workspace, name), default=0) + 1
        for candidate in range(number, number + _ATTEMPTS):
            try:
                manifest = _version_manifest(workspace, name, candidate, data, comment, VersionState.ENABLED, bound)
                await self._store.create(manifest)
            except AlreadyExists:  # somebody else adds a version now
                continue
            return candidate
        raise Conflict(f"secret {name} is being changed concurrently; try again")

    async def _point_to(self, head: Secret, number: int) -> None:
        change = {"metadata": {"annotations": {CURRENT_VERSION_ANNOTATION: str(number)}}}
        await self._store.patch(head.key, change, resource_version=head.metadata.resource_version)

    async def _set_state(self, workspace: str, name: str, number: int, state: VersionState) -> SecretVersion:
        holder = await self._existing_holder(workspace, name, number)
        if state_of_version(holder) is VersionState.DESTROYED:
            raise Conflict(f"version {number} of secret {name} is destroyed; add a new version")
        await self._store.patch(holder.key, {"metadata": {"annotations": {VERSION_STATE_ANNOTATION: str(state)}}})
        return await self.version(workspace, name, number)


def _key(workspace: str, name: str) -> Key:
    return Key(Kind.SECRET, workspace, name)


def _check_values(data: Mapping[str, bytes], type: CredentialType | None) -> None:
    if not any(data.values()):
        raise InvalidInput("is empty", field="value", remedy="give the values that the registry gave you")
    if sum(len(value) for value in data.values()) > VALUES_MAXIMUM:
        raise InvalidInput("is larger than 512 KiB", field="value", remedy="give only what the login needs")
    problem = problem_of_values(type, data) if type else ""
    if problem:
        raise InvalidInput(problem, field="value", remedy="give all of them")


def _version_manifest(
    workspace: str,
    name: str,
    number: int,
    data: Mapping[str, bytes],
    comment: str,
    state: VersionState,
    bound: Collection[str] | None = None,
) -> dict[str, object]:
    annotations = {VERSION_STATE_ANNOTATION: str(state)} | ({COMMENT_ANNOTATION: comment} if comment else {})
    if bound is not None:
        annotations[REGISTRIES_ANNOTATION] = annotation_value(bound)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": version_secret_name(name, number),
            "namespace": workspace,
            "labels": {SECRET_LABEL: name, VERSION_LABEL: str(number)},
            "annotations": annotations,
        },
        "type": "Opaque",
        "immutable": True,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _version(head: Secret, holder: Secret) -> SecretVersion:
    number = holder.metadata.labels.get(VERSION_LABEL, "0")
    return SecretVersion(
        workspace=holder.metadata.namespace,
        secret=head.metadata.name,
        number=int(number),
        state=state_of_version(holder),
        current=head.metadata.annotations.get(CURRENT_VERSION_ANNOTATION) == number,
        comment=holder.metadata.annotations.get(COMMENT_ANNOTATION, ""),
        created=holder.metadata.creation_time,
        uid=holder.metadata.uid,
    )

"""The certificates' keeper on a folder of Secrets and a cluster of three objects, with a clock that the test moves."""

from __future__ import annotations

import base64
import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from registry_access.model.errors import InvalidInput, InvalidManifest, StateUnavailable
from registry_access.model.resources import Key, Kind, Secret
from registry_access.runtime.tls.certificate_authority import CertificateAuthority, certificates_in, has_issued
from registry_access.state.directory.store import DirectoryStore
from registry_access.state.kubernetes.client.raw_objects import MUTATING_WEBHOOKS, RawKind, RawObject, RawObjects
from webhook.certificates.keeper import CertificateKeeper, Served

NOW = 1_800_000_000.0
DAY = 86400.0
ROTATE = "registry.akua.dev/rotate-requested"


class Objects(RawObjects):
    """An API server's ConfigMaps, Services and webhook configurations, and how often anything was written."""

    def __init__(self) -> None:
        self.present: dict[tuple[str, str], dict[str, Any]] = {}
        self.writes = 0
        self.broken = False
        self.bundles: list[bytes] = []  # of the first webhook, as they followed each other

    async def find(self, kind: RawKind, namespace: str, name: str) -> RawObject | None:
        if self.broken:
            raise StateUnavailable("the API server cannot be reached")
        return copy.deepcopy(self.present.get((kind.kind, name)))

    async def apply(self, kind: RawKind, manifest: RawObject, *, manager: str) -> RawObject:
        self.writes += 1
        self.present[kind.kind, manifest["metadata"]["name"]] = copy.deepcopy(dict(manifest))
        return manifest

    async def patch(
        self, kind: RawKind, namespace: str, name: str, operations: Sequence[Mapping[str, object]], *, manager: str
    ) -> RawObject:
        assert kind is MUTATING_WEBHOOKS
        self.writes += 1
        webhooks = self.present[kind.kind, name]["webhooks"]
        for operation in operations:
            _, _, place, *rest = str(operation["path"]).split("/")
            if operation["op"] == "test" and webhooks[int(place)]["name"] != operation["value"]:
                raise InvalidManifest("the test failed")
            if operation["op"] == "add":
                assert rest == ["clientConfig", "caBundle"]
                webhooks[int(place)]["clientConfig"]["caBundle"] = operation["value"]
        self.bundles.append(self.bundle())
        return self.present[kind.kind, name]

    def configure(self, *names: str) -> None:
        entries = [{"name": name, "clientConfig": {"service": {"name": "akua-webhook"}}} for name in names]
        self.present["MutatingWebhookConfiguration", "akua-webhook"] = {"webhooks": entries}

    def bundle(self, place: int = 0) -> bytes:
        webhooks = self.present["MutatingWebhookConfiguration", "akua-webhook"]["webhooks"]
        return base64.b64decode(webhooks[place]["clientConfig"].get("caBundle", ""))

    def published(self) -> bytes:
        return bytes(self.present["ConfigMap", "akua-ca"]["data"]["ca.crt"].encode())


class World:
    def __init__(self, store: DirectoryStore) -> None:
        self.store = store
        self.objects = Objects()
        self.objects.configure("pods.akua.dev", "second.akua.dev")
        self.objects.present["Service", "akua-proxy"] = {"spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"]}}
        self.now = NOW
        self.keeper = self.another()

    def another(self, **served: Any) -> CertificateKeeper:
        return CertificateKeeper(self.store, self.objects, Served("oci.akua.dev", **served), lambda: self.now)

    async def secret(self, name: str) -> Secret:
        found = await self.store.read(Key(Kind.SECRET, "akua-system", name))
        assert isinstance(found, Secret)
        return found

    async def certificate(self, name: str = "akua-webhook-tls") -> bytes:
        return (await self.secret(name)).data["tls.crt"]

    async def ask(self, name: str) -> None:
        patch = {"metadata": {"annotations": {ROTATE: "now"}}}
        await self.store.patch(Key(Kind.SECRET, "akua-system", name), patch)

    async def delete(self, name: str) -> None:
        await self.store.delete(Key(Kind.SECRET, "akua-system", name))

    async def trusted(self, name: str = "akua-webhook-tls") -> bool:
        """Whether whoever has the bundle trusts what is served."""
        served = await self.certificate(name)
        bundles = (self.objects.bundle(0), self.objects.bundle(1), self.objects.published())
        return all(any(has_issued(each, served) for each in certificates_in(bundle)) for bundle in bundles)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = DirectoryStore(tmp_path, watch=False)
    await store.start()
    yield World(store)
    await store.stop()


def names_in(certificate: bytes) -> set[str]:
    found = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(item.value) for item in found}


async def test_everything_is_made_and_then_left_as_it_is(world: World) -> None:
    await world.keeper.look()
    webhook, proxy = await world.secret("akua-webhook-tls"), await world.secret("akua-proxy-tls")
    for secret in (webhook, proxy):
        assert secret.type == "kubernetes.io/tls"
        assert set(secret.data) == {"tls.crt", "tls.key", "ca.crt"}
        assert secret.metadata.labels["app.kubernetes.io/managed-by"] == "akua-certificates"
        assert secret.data["ca.crt"] == world.objects.published() == world.objects.bundle(0) == world.objects.bundle(1)
    assert names_in(proxy.data["tls.crt"]) >= {"oci.akua.dev", "akua-proxy.akua-system.svc", "10.96.0.7"}
    assert "akua-webhook.akua-system.svc" in names_in(webhook.data["tls.crt"])
    writes = world.objects.writes
    await world.keeper.look()
    assert world.objects.writes == writes
    assert await world.secret("akua-webhook-tls") == webhook
    assert await world.secret("akua-proxy-tls") == proxy


async def test_a_certificate_is_renewed_before_it_ends_and_for_a_new_address(world: World) -> None:
    await world.keeper.look()
    before = await world.certificate(), await world.certificate("akua-proxy-tls")
    world.objects.present["Service", "akua-proxy"]["spec"] = {"clusterIP": "10.96.0.8"}
    await world.keeper.look()
    assert "10.96.0.8" in names_in(await world.certificate("akua-proxy-tls"))
    assert await world.certificate() == before[0]
    world.now += 61 * DAY
    await world.keeper.look()
    assert await world.certificate() != before[0]
    assert await world.trusted()


async def test_a_certificate_that_is_asked_for_is_made_once(world: World) -> None:
    await world.keeper.look()
    before = await world.certificate()
    await world.ask("akua-webhook-tls")
    await world.keeper.look()
    after = await world.secret("akua-webhook-tls")
    assert after.data["tls.crt"] != before
    assert ROTATE not in after.metadata.annotations
    await world.keeper.look()
    assert await world.secret("akua-webhook-tls") == after
    assert len(certificates_in(world.objects.published())) == 1


async def test_a_ca_that_is_asked_for_is_known_before_it_signs(world: World) -> None:
    await world.keeper.look()
    first, old = await world.certificate(), world.objects.published()
    await world.ask("akua-ca")
    await world.keeper.look()
    assert ROTATE not in (await world.secret("akua-ca")).metadata.annotations
    assert await world.certificate() == first
    both = certificates_in(world.objects.published())
    assert len(both) == 2
    assert both[0] == old
    for _ in range(40):
        world.now += 300
        before = world.objects.bundle()
        await world.keeper.look()
        served = await world.certificate()
        assert await world.trusted()
        assert await world.trusted("akua-proxy-tls")
        assert any(has_issued(each, served) for each in certificates_in(before)), "known before it was served"
    assert await world.certificate() != first
    assert world.objects.published() == both[1]
    assert [len(certificates_in(bundle)) for bundle in world.objects.bundles] == [1, 2, 1]


async def test_a_ca_that_nobody_could_be_told_of_does_not_sign(world: World) -> None:
    await world.keeper.look()
    await world.ask("akua-ca")
    world.objects.broken = True
    with pytest.raises(StateUnavailable):
        await world.keeper.look()
    world.now += DAY
    world.objects.broken = False
    first = await world.certificate()
    await world.keeper.look()
    assert await world.certificate() == first
    assert await world.trusted()


async def test_what_is_changed_or_deleted_by_hand_is_put_right(world: World) -> None:
    await world.keeper.look()
    good, first = world.objects.published(), await world.certificate()
    world.objects.present["ConfigMap", "akua-ca"]["data"]["ca.crt"] = "nonsense"
    world.objects.configure("pods.akua.dev", "second.akua.dev")
    await world.keeper.look()
    assert world.objects.published() == world.objects.bundle(0) == world.objects.bundle(1) == good
    del world.objects.present["ConfigMap", "akua-ca"]
    await world.delete("akua-webhook-tls")
    await world.keeper.look()
    assert world.objects.published() == good
    assert await world.certificate() != first
    assert await world.trusted()


async def test_a_deleted_ca_is_followed_by_one_that_is_known_before_it_signs(world: World) -> None:
    await world.keeper.look()
    first, old = await world.certificate(), world.objects.published()
    await world.delete("akua-ca")
    await world.keeper.look()
    assert await world.certificate() == first
    assert old in certificates_in(world.objects.published())
    for _ in range(30):
        world.now += 300
        await world.keeper.look()
        assert await world.trusted()
    assert old not in certificates_in(world.objects.published())


async def test_deleting_all_of_it_begins_afresh(world: World) -> None:
    """The way out when a CA's key was stolen: nothing that it signed is trusted any more."""
    await world.keeper.look()
    old = world.objects.published()
    for name in ("akua-ca", "akua-webhook-tls", "akua-proxy-tls"):
        await world.delete(name)
    await world.keeper.look()
    assert certificates_in(old)[0] not in certificates_in(world.objects.published())
    assert await world.trusted()


async def test_a_spoilt_ca_is_left_for_a_person(world: World) -> None:
    await world.keeper.look()
    served, bundle = await world.certificate(), world.objects.published()
    spoilt = dict.fromkeys((await world.secret("akua-ca")).data) | {"times.json": "e30="}
    await world.store.patch(Key(Kind.SECRET, "akua-system", "akua-ca"), {"data": spoilt})
    with pytest.raises(InvalidInput, match="Secret akua-system/akua-ca: does not hold CAs"):
        await world.keeper.look()
    assert (await world.certificate(), world.objects.published()) == (served, bundle)


async def test_a_secret_that_others_wrote_is_theirs(world: World) -> None:
    other = CertificateAuthority.new("theirs", 10)
    pair = other.issue(("oci.akua.dev",))
    entries = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": other.pair.certificate}
    for name in ("akua-webhook-tls", "akua-proxy-tls"):
        data = {entry: base64.b64encode(value).decode() for entry, value in entries.items()}
        metadata = {"name": name, "namespace": "akua-system"}
        await world.store.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data}
        )
    await world.keeper.look()
    for name in ("akua-webhook-tls", "akua-proxy-tls"):
        assert await world.certificate(name) == pair.certificate
    assert await world.trusted(), "by the CA that came with it"
    gone = {"data": {"ca.crt": None}}
    await world.store.patch(Key(Kind.SECRET, "akua-system", "akua-webhook-tls"), gone)
    world.objects.configure("pods.akua.dev")
    await world.keeper.look()
    assert world.objects.bundle() == b"", "whoever made a certificate without its CA sees to the trust"


async def test_no_webhook_configuration_is_no_error(world: World) -> None:
    del world.objects.present["MutatingWebhookConfiguration", "akua-webhook"]
    await world.keeper.look()
    world.objects.configure("pods.akua.dev", "second.akua.dev")
    await world.keeper.look()
    assert await world.trusted()


async def test_every_registration_of_ours_gets_the_bundle(world: World) -> None:
    late = {"webhooks": [{"name": "late.pods.akua.dev", "clientConfig": {}}]}
    world.objects.present["MutatingWebhookConfiguration", "zz-akua-webhook"] = late
    await world.keeper.look()
    assert base64.b64decode(late["webhooks"][0]["clientConfig"]["caBundle"]) == world.objects.bundle() != b""  # type: ignore[index]


async def test_only_what_takes_its_certificate_from_a_secret_is_kept(world: World) -> None:
    await world.another(webhook=False).look()
    assert world.objects.bundle() == b""
    assert [secret.metadata.name for secret in world.store.index.secrets()] == ["akua-ca", "akua-proxy-tls"]


async def test_a_certificate_put_into_our_secret_in_place_is_left_there(world: World) -> None:
    """As `kubectl create secret tls --dry-run=client -o yaml | kubectl apply --server-side --force-conflicts` does."""
    await world.keeper.look()
    own = CertificateAuthority.new("Example public CA", 90).issue(("oci.akua.dev",))
    entries = {"tls.crt": own.certificate, "tls.key": own.key}
    for name in ("akua-proxy-tls", "akua-webhook-tls"):
        data = {entry: base64.b64encode(value).decode() for entry, value in entries.items()}
        await world.store.patch(Key(Kind.SECRET, "akua-system", name), {"data": data})
    for _ in range(3):
        await world.keeper.look()
    for name in ("akua-proxy-tls", "akua-webhook-tls"):
        left = await world.secret(name)
        assert dict(left.data) == entries, "the CA that was beside ours does not vouch for theirs"
        assert "app.kubernetes.io/managed-by" not in left.metadata.labels
    await world.delete("akua-proxy-tls")
    await world.keeper.look()
    assert has_issued(world.objects.published(), await world.certificate("akua-proxy-tls")), "and the way back is to delete it"


async def test_a_key_that_does_not_fit_a_certificate_put_there_is_no_reason_to_leave_it(world: World) -> None:
    await world.keeper.look()
    own = CertificateAuthority.new("Example public CA", 90).issue(("oci.akua.dev",))
    data = {"tls.crt": base64.b64encode(own.certificate).decode()}
    await world.store.patch(Key(Kind.SECRET, "akua-system", "akua-proxy-tls"), {"data": data})
    await world.keeper.look()
    assert has_issued(world.objects.published(), await world.certificate("akua-proxy-tls"))

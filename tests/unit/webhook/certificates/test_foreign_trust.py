"""Certificates that others make: their CA reaches the nodes, and nothing of theirs is written."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from registry_access.model.resources import Kind
from registry_access.runtime.tls.certificate_authority import CertificateAuthority
from registry_access.state.directory.store import DirectoryStore
from tests.unit.webhook.certificates.test_keeper import Objects
from webhook.certificates.foreign_trust import ForeignTrust
from webhook.certificates.publication import Publication

AUTHORITY = CertificateAuthority.new("somebody else's CA", 10)


def secret(**entries: bytes) -> dict[str, Any]:
    pair = AUTHORITY.issue(["oci.akua.dev"])
    data = {
        "tls.crt": pair.certificate,
        "tls.key": pair.key,
        **{name.replace("_", "."): value for name, value in entries.items()},
    }
    metadata = {"name": "akua-proxy-tls", "namespace": "akua-system"}
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": encoded}


async def test_the_ca_that_came_with_the_certificate_is_published_once_and_follows_a_change(tmp_path: Path) -> None:
    store, objects = DirectoryStore(tmp_path, watch=False), Objects()
    await store.start()
    trust = ForeignTrust(store, Publication(objects))
    await trust.look()
    assert objects.present == {}, "there is no certificate yet"
    made = await store.create(secret(ca_crt=AUTHORITY.pair.certificate))
    await trust.look()
    await trust.look()
    assert objects.published() == AUTHORITY.pair.certificate
    assert objects.writes == 1
    other = CertificateAuthority.new("the next one", 10).pair.certificate
    await store.patch(made.key, {"data": {"ca.crt": base64.b64encode(other).decode()}})
    await trust.look()
    assert objects.published() == other
    found = await store.read(made.key)
    assert found.kind is Kind.SECRET
    assert "app.kubernetes.io/managed-by" not in found.metadata.labels
    await store.stop()


async def test_a_public_certificate_comes_without_a_ca_and_nothing_is_published(tmp_path: Path) -> None:
    store, objects = DirectoryStore(tmp_path, watch=False), Objects()
    await store.start()
    await store.create(secret(ca_crt=b""))
    await ForeignTrust(store, Publication(objects)).look()
    assert objects.present == {}
    await store.stop()

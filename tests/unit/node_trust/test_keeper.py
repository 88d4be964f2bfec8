"""Reading the cluster, keeping the node: what cannot be read changes nothing."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from node_trust.hosts_folder import HostsFolder, Trust
from node_trust.keeper import TrustKeeper
from node_trust.source import read_trust
from programs.telemetry import Telemetry
from registry_access.model.errors import StateError, StateUnavailable
from registry_access.runtime.tls.certificate_authority import CertificateAuthority
from registry_access.state.kubernetes.client.raw_objects import RawObjects
from tests.support.fake_cluster import SYSTEM, FakeApi

CA = CertificateAuthority.new("test", 10).pair.certificate.decode()
OTHER_CA = CertificateAuthority.new("other", 10).pair.certificate.decode()


PATHS = {"akua_proxy": f"{SYSTEM}/services/akua-proxy", "akua_ca": f"{SYSTEM}/configmaps/akua-ca"}


def cluster(**objects: dict[str, Any]) -> FakeApi:
    return FakeApi({PATHS[name]: found for name, found in objects.items()})


def service(*addresses: str, ports: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"spec": {"clusterIP": addresses[0], "clusterIPs": list(addresses), "ports": ports or [{"port": 443}]}}


async def read(api: FakeApi) -> Trust:
    return await read_trust(RawObjects(api))


@pytest.mark.parametrize(
    ("found", "server"),
    [
        (service("10.96.0.7"), "https://10.96.0.7"),
        (service("10.96.0.7", "fd00::7"), "https://10.96.0.7"),
        (service("fd00::7", "10.96.0.7"), "https://[fd00::7]"),
        (service("fd00::7", ports=[{"port": 8443}]), "https://[fd00::7]:8443"),
        (service("10.96.0.7", ports=[{"port": 15090}, {"port": 443}]), "https://10.96.0.7"),
        (service("10.96.0.7", ports=[{"port": 53, "protocol": "UDP"}, {"port": 5000}]), "https://10.96.0.7:5000"),
        ({"spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 443}]}}, "https://10.96.0.7"),
    ],
)
async def test_the_services_first_cluster_address_is_the_server(found: dict[str, Any], server: str) -> None:
    assert await read(cluster(akua_proxy=found, akua_ca={"data": {"ca.crt": CA}})) == Trust(server, CA)


async def test_both_cas_of_a_rotation_are_handed_on(tmp_path: Path) -> None:
    trust = await read(cluster(akua_proxy=service("10.96.0.7"), akua_ca={"data": {"ca.crt": CA + OTHER_CA}}))
    assert trust.ca == CA + OTHER_CA


@pytest.mark.parametrize(
    ("api", "says"),
    [
        (cluster(akua_ca={"data": {"ca.crt": CA}}), "Service akua-proxy does not exist in akua-system"),
        (cluster(akua_proxy=service("10.96.0.7")), "ConfigMap akua-ca does not exist in akua-system"),
        (cluster(akua_proxy=service("10.96.0.7"), akua_ca={}), "akua-ca has no certificate"),
        (cluster(akua_proxy=service("10.96.0.7"), akua_ca={"data": {"ca.crt": "junk"}}), "akua-ca has no certificate"),
        (cluster(akua_proxy=service("None"), akua_ca={"data": {"ca.crt": CA}}), "no cluster IP"),
        (cluster(akua_proxy={"spec": {}}, akua_ca={"data": {"ca.crt": CA}}), "no cluster IP"),
        (cluster(akua_proxy=service("10.0.0.1", ports=[{"port": 1, "protocol": "UDP"}]), akua_ca={}), "no TCP port"),
    ],
)
async def test_what_is_missing_is_named(api: FakeApi, says: str) -> None:
    with pytest.raises(StateError, match=says):
        await read(api)


class Source:
    """Gives what it was told, and counts."""

    def __init__(self, answer: Trust | StateError) -> None:
        self.answer = answer
        self.asked = 0

    async def __call__(self) -> Trust:
        self.asked += 1
        if isinstance(self.answer, StateError):
            raise self.answer
        return self.answer

    async def wait(self, times: int) -> None:
        until = self.asked + times
        async with asyncio.timeout(5):
            while self.asked < until:
                await asyncio.sleep(0.001)


async def test_it_is_ready_once_written_and_a_failure_leaves_what_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source, folder, telemetry = Source(StateUnavailable("not allowed")), HostsFolder(tmp_path, "oci.akua.dev"), Telemetry()
    keeper = TrustKeeper(source, folder, telemetry, seconds=0.001)
    assert keeper.failure() == "nothing has been read yet"
    task = asyncio.create_task(keeper.run())
    await source.wait(5)
    assert keeper.failure() == "not allowed"
    assert not folder.path.exists()
    source.answer = Trust("https://10.96.0.7", CA)
    await source.wait(3)
    assert keeper.failure() == ""
    source.answer = StateUnavailable("gone again")
    await source.wait(5)
    assert keeper.failure() == ""
    assert "10.96.0.7" in (folder.path / "hosts.toml").read_text()
    source.answer = Trust("https://10.96.0.9", CA)
    await source.wait(3)
    assert "10.96.0.9" in (folder.path / "hosts.toml").read_text()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [("not allowed" in text, "gone again" in text) for text in warnings] == [(True, False), (False, True)]
    assert "the files written before stay in place" in warnings[1]
    looks = {result: telemetry.node_trust_looks.labels(result)._value.get() for result in ("written", "unchanged", "failed")}
    assert looks["written"] == 2
    assert looks["failed"] >= 10


async def test_a_folder_that_is_not_ours_is_said_and_never_ready(tmp_path: Path) -> None:
    folder = HostsFolder(tmp_path, "oci.akua.dev")
    folder.path.mkdir()
    (folder.path / "hosts.toml").write_text("theirs")
    source = Source(Trust("https://10.96.0.7", CA))
    keeper = TrustKeeper(source, folder, Telemetry(), seconds=0.001)
    task = asyncio.create_task(keeper.run())
    await source.wait(3)
    task.cancel()
    assert "was not written by akua node-trust" in keeper.failure()
    assert (folder.path / "hosts.toml").read_text() == "theirs"

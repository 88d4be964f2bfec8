"""Kubeconfigs that came from somebody else: what is used of them, and everything that is refused."""

from __future__ import annotations

import asyncio
import base64
import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trustme
import yaml
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st

from registry_access.model.errors import InvalidInput
from registry_access.runtime.connections.name_lookup import NameLookup, tenant
from registry_access.state.kubernetes.kubeconfig import foreign
from registry_access.state.kubernetes.kubeconfig.foreign import foreign_access

SECRET = "s3cr3t-t0k3n"
AUTHORITY = trustme.CA()


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "far",
    "contexts": [{"name": "far", "context": {"cluster": "far", "user": "sync"}}],
    "clusters": [
        {
            "name": "far",
            "cluster": {
                "server": "https://k8s.example.com:6443",
                "certificate-authority-data": encoded(AUTHORITY.cert_pem.bytes()),
                "tls-server-name": "kubernetes",
            },
        }
    ],
    "users": [{"name": "sync", "user": {"token": SECRET}}],
}


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    config = copy.deepcopy(CONFIG)
    change(config)
    return yaml.safe_dump(config).encode()


def cluster(**fields: object) -> bytes:
    return changed(lambda config: config["clusters"][0]["cluster"].update(fields))


def user(**fields: object) -> bytes:
    return changed(lambda config: config["users"][0]["user"].update(fields))


async def test_a_plain_kubeconfig_is_used() -> None:
    access = foreign_access(yaml.safe_dump(CONFIG).encode())
    assert (access.server, access.tls_server_name, access.proxy) == ("https://k8s.example.com:6443", "kubernetes", None)
    assert await access.token() == SECRET
    assert SECRET not in repr(access)


async def test_a_client_certificate_is_used() -> None:
    made = AUTHORITY.issue_cert("sync")
    pair = {
        "client-certificate-data": encoded(made.cert_chain_pems[0].bytes()),
        "client-key-data": encoded(made.private_key_pem.bytes()),
    }
    access = foreign_access(changed(lambda config: config["users"][0].update(user=pair)))
    assert await access.token() == ""


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (user(exec={"command": "touch", "args": ["/tmp/owned"]}), "'exec' is refused"),
        (user(**{"auth-provider": {"name": "gcp", "config": {"cmd-path": "touch"}}}), "'auth-provider' is refused"),
        (user(tokenFile="/var/run/secrets/kubernetes.io/serviceaccount/token"), "'tokenFile' is refused"),
        (user(**{"client-key": "/etc/shadow"}), "'client-key' is refused"),
        (user(username="a", password="b"), "is refused"),
        (user(impersonate="admin"), "'impersonate' is refused"),
        (cluster(**{"certificate-authority": "/etc/passwd"}), "'certificate-authority' is refused"),
        (cluster(**{"insecure-skip-tls-verify": True}), "'insecure-skip-tls-verify' is refused"),
        (cluster(**{"proxy-url": "http://evil.example"}), "'proxy-url' is refused"),
        (cluster(server="http://k8s.example.com"), "must be an https URL"),
        (cluster(server="https://a@k8s.example.com"), "more than scheme"),
        (cluster(server="https://k8s.example.com/api?x=1"), "more than scheme"),
        (cluster(server="https://k8s.example.com:port"), "is not a URL"),
        (cluster(server="https://"), "must be an https URL"),
        (cluster(server="https://127.0.0.1:6443"), "loopback"),
        (cluster(server="https://localhost:6443"), "loopback"),
        (cluster(server="https://[::1]:6443"), "loopback"),
        (cluster(server="https://[::ffff:127.0.0.1]"), "loopback"),
        (cluster(server="https://169.254.169.254"), "loopback"),
        (cluster(server="https://0.0.0.0"), "loopback"),
        (cluster(server="https://2130706433"), "loopback"),
        (cluster(server="https://0x7f.1"), "loopback"),
        (cluster(server=7), "missing or not text"),
        (cluster(**{"certificate-authority-data": "%%%"}), "is not base64"),
        (cluster(**{"certificate-authority-data": encoded(b"nonsense")}), "holds no PEM certificate"),
        (
            user(**{"client-certificate-data": encoded(b"x"), "client-key-data": encoded(b"y")}),
            "not a PEM certificate with its key",
        ),
        (user(token=""), "has no credentials"),
        (user(token="a\r\nHost: evil"), "characters that no token has"),
        (changed(lambda config: config.update({"current-context": "other"})), "has no context"),
        (changed(lambda config: config.update(clusters=[])), "has no cluster"),
        (changed(lambda config: config.update(users="x")), "has no user"),
        (changed(lambda config: config.update(extensions=[])), "'extensions' is refused"),
        (b"[1, 2]", "is not a mapping"),
        (b"a: b: c", "is not YAML"),
        (b"!!python/object/apply:os.system ['true']", "is not YAML"),
        (b"a" * 16_385, "larger than 16 KiB"),
        (b"a: &a [1]\nb: *a\n", "anchor or an alias"),
        (b"a: &a {b: c}\n", "anchor or an alias"),
        (b"users: *nowhere\n", "anchor or an alias"),
        (b"users: {<<: {token: x}}\n", "merge key"),
        (b"users: {<<: [{a: 1}, {b: 2}]}\n", "merge key"),
        (b"users: !!python/object:os.system {}\n", "is not YAML"),
        (b"[" * 16_000, "nested too deeply"),
        (b"{a: " * 4_000, "nested too deeply"),
    ],
)
def test_everything_else_is_refused_by_name(config: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        foreign_access(config)
    assert SECRET not in str(caught.value)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else_is_raised(config: bytes) -> None:
    with pytest.raises(InvalidInput):
        foreign_access(config)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::a9fe:a9fe]",
            "[64:ff9b::7f00:1]",
            "[2002:a9fe:a9fe::1]",
        ),
        *(
            "[::169.254.169.254]",
            "[::ffff:0:127.0.0.1]",
            "[2001:db8::5efe:7f00:1]",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
            "[fec0::1]",
        ),
        *("[fd00:ec2::254%1]", "[2002:a9fe:a9fe::1]", "[fd20:ce::254]", "[fec0::1]"),
        *("100.100.100.200", "168.63.129.16", "192.0.0.192", "255.255.255.255", "localhost.", "127.1"),
    ],
)
def test_metadata_services_and_this_machine_are_no_clusters_in_whatever_notation(address: str) -> None:
    """By name too: an address that a name resolves to goes the same way."""
    with pytest.raises(InvalidInput, match=r"loopback, link-local or reserved|is not a URL"):
        foreign_access(cluster(server=f"https://{address}:6443"))


@pytest.mark.parametrize("address", ["10.0.0.1", "[fd12::1]", "203.0.113.7", "[2001:db8::1]", "k8s.example.com"])
def test_clusters_may_be_at_private_addresses(address: str) -> None:
    assert foreign_access(cluster(server=f"https://{address}:6443")).server == f"https://{address}:6443"


async def test_a_name_that_resolves_to_loopback_is_refused() -> None:
    access = foreign_access(cluster(server="https://k8s.example.com"))
    assert access.resolver is not None
    with pytest.raises(OSError, match="loopback"):
        await access.resolver.resolve("localhost", 443)
    await access.resolver.close()


def test_what_expands_is_refused_before_it_is_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    """469 bytes took 5.9 s and 205 MiB."""

    def composed(*_: object, **__: object) -> None:
        raise AssertionError("it was composed")

    monkeypatch.setattr("registry_access.state.kubernetes.kubeconfig.foreign.yaml.load", composed)
    lines = ["a0: &a0 {k0: v}"] + [f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}" for level in range(1, 9)]
    with pytest.raises(InvalidInput, match="anchor or an alias"):
        foreign_access("\n".join(lines).encode())


def test_it_can_be_read_in_a_thread_without_a_loop() -> None:
    with ThreadPoolExecutor(1) as pool:
        access = pool.submit(foreign_access, yaml.safe_dump(CONFIG).encode()).result()
    assert access.resolver is not None


async def test_dead_names_of_one_workspace_keep_no_other_cluster_from_being_found(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def resolve(host: str) -> list[str]:
        if host.startswith("dead"):
            released.wait(30)
        return ["10.1.2.3"]

    lookup = NameLookup(resolve, threads=4, share=2)
    monkeypatch.setattr(foreign, "_names", lambda: lookup)

    def resolver_of(workspace: str, host: str) -> AbstractResolver:
        before = tenant.set(workspace)
        try:
            found = foreign_access(cluster(server=f"https://{host}")).resolver
        finally:
            tenant.reset(before)
        assert found is not None
        return found

    dead = [f"dead-{number}.example" for number in range(20)]
    greedy = [asyncio.create_task(resolver_of("greedy", name).resolve(name, 443)) for name in dead]
    try:
        await asyncio.sleep(0)
        found = await asyncio.wait_for(resolver_of("acme", "k8s.example.com").resolve("k8s.example.com", 443), 10)
        assert [each["host"] for each in found] == ["10.1.2.3"]
    finally:
        released.set()
        await asyncio.gather(*greedy)

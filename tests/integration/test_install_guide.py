"""docs/install.md, followed step by step on a real API server, and the commands of docs/operations.md: run as they stand."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.support.akua_process import AKUA
from tests.support.cluster import HACK_CLUSTER, until
from tests.support.cluster_process import cluster_process
from tests.support.kubernetes import ControlPlane, find_api_server, kubectl_program

ROOT = Path(__file__).parents[2]
GUIDE, OPERATIONS = ROOT / "docs" / "install.md", ROOT / "docs" / "operations.md"
HOST = "registry.example.com"
_BLOCK = re.compile(r"(?:<!-- (?P<note>skip|file): (?P<what>.*?) -->\n)?```(?P<language>sh|yaml)\n(?P<text>.*?)```", re.S)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `file` is where it is to be written, "" for commands."""

    section: str
    text: str
    file: str = ""


def blocks() -> Iterator[Block]:
    """What is marked as run: the blocks of paragraphs that say so, up to the next that does not."""
    for section in re.split(r"^## ", GUIDE.read_text(), flags=re.M)[1:]:
        end = 0
        for found in _BLOCK.finditer(section):
            marked = "*(run)*" in section[end : found.start()]
            end = found.end()
            if marked and found["note"] != "skip":
                file = found["what"] if found["note"] == "file" else ""
                yield Block(section.partition("\n")[0], found["text"], file)


def operations() -> list[str]:
    """The kubectl commands of docs/operations.md, in their order; without those that need a node or somebody's own name."""
    found = re.findall(r"`(kubectl [^`\n]+ [^`\n]+)`|```sh\n(.*?)```", OPERATIONS.read_text(), re.S)
    commands = [inline or block for inline, block in found]
    return [each for each in commands if not re.search(r"rollout|NAME\b|exec | -k$", each)]


@dataclass
class Person:
    """Somebody with a shell, in a folder with a copy of manifests/."""

    folder: Path
    plane: ControlPlane

    def run(self, section: str) -> str:
        """Does what the section says; what the commands print."""
        said = ""
        for block in blocks():
            if block.section != section:
                continue
            if block.file:
                (self.folder / block.file).parent.mkdir(exist_ok=True)
                (self.folder / block.file).write_text(block.text)
                continue
            said += self.shell(block.text)
        return said

    def shell(self, text: str) -> str:
        """Runs commands that must succeed; what they print."""
        path = f"{kubectl_program().parent}:{AKUA.parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "KUBECONFIG": str(self.plane.kubeconfig)}
        command = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=170)
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A control plane with its controllers, and nothing of ours in it."""
    find_api_server()
    run_folder, folder = tmp_path_factory.mktemp("plane"), tmp_path_factory.mktemp("person")
    options = ["--control-plane-only", "--controllers", "--dir", str(run_folder)]
    started = subprocess.run([HACK_CLUSTER, "up", *options], capture_output=True, text=True, check=False, timeout=170)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        shutil.copytree(ROOT / "manifests", folder / "manifests")
        yield Person(folder, ControlPlane("", Path(), run_folder / "kubeconfig", "", "", {}))
    finally:
        subprocess.run([HACK_CLUSTER, "down", "--dir", str(run_folder)], capture_output=True, check=False, timeout=120)


def issue_public_certificate(folder: Path) -> None:
    """An RSA key, as many CAs still give; the managed ones are ECDSA."""
    issued = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert(HOST, key_type=trustme.KeyType.RSA)
    issued.cert_chain_pems[0].write_to_path(folder / "fullchain.pem")
    issued.private_key_pem.write_to_path(folder / "privkey.pem")


def certificate_of_the_proxy(plane: ControlPlane) -> str:
    path = r"jsonpath={.data.tls\.crt}"
    encoded = plane.kubectl("-n", "akua-system", "get", "secret", "akua-proxy-tls", "--ignore-not-found", "-o", path)
    return base64.b64decode(encoded).decode()


@pytest.mark.timeout(600)
def test_the_guide_is_right(person: Person, tmp_path: Path) -> None:
    plane = person.plane
    issue_public_certificate(person.folder)
    person.run("3. Your overlay")
    own = certificate_of_the_proxy(plane)
    assert own == (person.folder / "fullchain.pem").read_text()
    assert "serverside-applied" in person.run("4. Apply it")
    with ExitStack() as stack:
        # Where a node would run the Deployment's pods, one process does, called by its own address.
        webhook = stack.enter_context(cluster_process(plane, tmp_path, "webhook", host=HOST))
        client = {"url": f"https://127.0.0.1:{webhook.port}/mutate"}
        patch = json.dumps([{"op": "replace", "path": "/webhooks/0/clientConfig", "value": client}])
        plane.kubectl("patch", "mutatingwebhookconfiguration", "akua-webhook", "--type=json", "--patch", patch)
        webhook.wait_until_ready()
        until(lambda: "akua-webhook-tls" in plane.kubectl("-n", "akua-system", "get", "secrets", "-o", "name"))
        assert certificate_of_the_proxy(plane) == own, "the leader leaves it alone"
        plane.kubectl("-n", "akua-system", "delete", "secret", "akua-proxy-tls")
        until(lambda: certificate_of_the_proxy(plane) not in ("", own))
        person.shell(next(block.text for block in blocks() if "secret tls" in block.text))
        proxy = stack.enter_context(cluster_process(plane, tmp_path / "proxy", "proxy", host=HOST))
        proxy.wait_until_ready()
        served = ssl.get_server_certificate(("127.0.0.1", proxy.port))
        assert served == own, "in place of the managed one, whose key is of another type"
        assert certificate_of_the_proxy(plane) == own
        said = person.run("5. The first workspace")
        assert re.search(r"registrycredential\S*/ghcr .*ghcr\.io", said)
        assert re.search(r"install\S*/shop .*storefront", said)
        assert re.search(r"pullgrant\S*/shop", said)
        assert re.search(r"secret/akua-pull-shop +kubernetes.io/dockerconfigjson", said)
        until(lambda: person.run("6. See it work") == f"{HOST}/ghcr.io/acme/storefront:1.4\n")
        assert len(operations()) > 12
        for command in operations():
            # The keys were burnt some commands before; new ones are there in seconds, as the guide says.
            until(lambda: "akua-install-token-keys" in plane.kubectl("-n", "akua-system", "get", "secrets", "-o", "name"))
            person.shell(command)
        person.run("7. Uninstalling")
    left = plane.kubectl("get", "crds,clusterroles,clusterrolebindings,mutatingwebhookconfigurations", "-o", "name")
    left += plane.kubectl("get", "validatingadmissionpolicies,rolebindings,secrets,namespaces", "-A", "-o", "name")
    assert [name for name in left.split() if "akua" in name] == []
    assert "secret/ghcr" in left, "what is the person's own stays"


def test_every_block_is_run_or_says_who_proves_it() -> None:
    text = GUIDE.read_text()
    noted = text.count("<!-- skip: ")
    fenced = len(re.findall(r"^```(?:sh|yaml)$", text, re.M))
    assert fenced - noted - len(list(blocks())) == 0
